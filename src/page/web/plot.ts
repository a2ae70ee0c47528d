import { html } from 'htm/preact';
import type { Bar } from './figures.ts';

interface PlotProps {
  title: string;
  /** What the bars are about, and what their lengths are. */
  head: [of: string, unit: string];
  bars: readonly Bar[];
}

/** A plot of bars, which is a table: without the bars, it says the same. */
export function Plot({ title, head: [of, unit], bars }: PlotProps) {
  const most = Math.max(1e-9, ...bars.map(({ value }) => value));
  return html`<figure class="plot"><figcaption>${title}</figcaption>
    <table><thead class="hidden"><tr><th scope="col">${of}</th><th scope="col" colspan="2">${unit}</th></tr></thead>
      <tbody>${bars.map(
        ({ label, value, text }) => html`<tr><th scope="row">${label}</th>
          <td class="bars"><svg aria-hidden="true"><rect width=${`${(100 * value) / most}%`} height="100%" rx="3"></rect></svg></td>
          <td>${text}</td></tr>`,
      )}</tbody></table>
  </figure>`;
}
