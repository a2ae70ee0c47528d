import type { Spread } from './figures.ts';

/** A horizontal bar: its median, with a line from the least to the most. */
export interface Bar {
  label: string;
  spread: Spread;
  /** Ours stand out against those that they are compared with. */
  isOurs: boolean;
}

export interface Chart {
  title: string;
  /** What is to be seen, for those who cannot see it. */
  description: string;
  unit: string;
  bars: Bar[];
}

const WIDTH = 760;
const LABELS = 300;
const VALUES = 90;
const ROW = 30;
const TOP = 48;
const BAR = 16;

const STYLE = `
    text { font: 14px system-ui, sans-serif; fill: #1f2328 }
    .title { font-weight: 600; font-size: 16px }
    .ours { fill: #0a6e5c }
    .other { fill: #8c959f }
    .spread { stroke: #1f2328; stroke-width: 1.5 }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3 }
      .ours { fill: #3fb9a0 }
      .other { fill: #6e7681 }
      .spread { stroke: #e6edf3 }
    }`;

/** A bar chart as an SVG image that stands alone: in light and in dark, with its figures as text. */
export function barChart({ title, description, unit, bars }: Chart): string {
  const longest = Math.max(...bars.map(({ spread }) => spread.most));
  const scale = (value: number) => Number(((value / longest) * (WIDTH - LABELS - VALUES)).toFixed(1));
  const height = TOP + bars.length * ROW + 8;
  const rows = bars.map(({ label, spread, isOurs }, index) => {
    const y = TOP + index * ROW;
    const middle = y + BAR / 2;
    const [least, most] = [LABELS + scale(spread.least), LABELS + scale(spread.most)];
    const value = numberText(spread.median) + unit;
    const range =
      spread.least === spread.most ? '' : `, from ${numberText(spread.least)} to ${numberText(spread.most)}`;
    return `  <g>
    <title>${escaped(`${label}: ${value}${range}`)}</title>
    <text x="${LABELS - 10}" y="${middle + 5}" text-anchor="end">${escaped(label)}</text>
    <rect class="${isOurs ? 'ours' : 'other'}" x="${LABELS}" y="${y}" width="${scale(spread.median)}" height="${BAR}" rx="2"/>
    <line class="spread" x1="${least}" y1="${middle}" x2="${most}" y2="${middle}"/>
    <text x="${most + 8}" y="${middle + 5}">${escaped(value)}</text>
  </g>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-labelledby="title description">
  <title id="title">${escaped(title)}</title>
  <desc id="description">${escaped(description)}</desc>
  <style>${STYLE}
  </style>
  <text class="title" x="0" y="22">${escaped(title)}</text>
${rows.join('\n')}
</svg>
`;
}

/** Three digits, with separators: 3,890 and 0.794. */
export function numberText(value: number): string {
  return Number(value.toPrecision(3)).toLocaleString('en', { maximumFractionDigits: 6 });
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}
