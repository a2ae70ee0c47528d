import { html } from 'htm/preact';
import type { Bar } from './figures.ts';

const ROW = 26;
const LEFT = 110;
const WIDTH = 640;
const RIGHT = 170;

/** A plot of bars, and the same as a table. */
export function Plot({ title, unit, bars }: { title: string; unit: string; bars: readonly Bar[] }) {
  const most = Math.max(1e-9, ...bars.map(({ value }) => value));
  const room = WIDTH - LEFT - RIGHT;
  const said = `${title}: ${bars.map(({ label, text }) => `${label} ${text}`).join(', ')}`;
  return html`<figure class="plot"><figcaption>${title}</figcaption>
    <svg viewBox=${`0 0 ${WIDTH} ${bars.length * ROW}`} role="img" aria-label=${said}>${bars.map(
      ({ label, value, text }, index) => html`<g>
        <text x=${LEFT - 10} y=${index * ROW + 18} text-anchor="end" class="axis">${label}</text>
        <rect x=${LEFT} y=${index * ROW + 5} width=${Math.max(value > 0 ? 2 : 0, (value / most) * room)} height=${ROW - 10} rx="3"></rect>
        <text x=${LEFT + 8 + (value / most) * room} y=${index * ROW + 18}>${text}</text></g>`,
    )}</svg>
    <details><summary>As a table</summary><table><thead><tr><th scope="col"></th><th scope="col">${unit}</th></tr></thead>
      <tbody>${bars.map(({ label, text }) => html`<tr><th scope="row">${label}</th><td>${text}</td></tr>`)}</tbody></table></details>
  </figure>`;
}
