import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { barChart } from './chart.ts';
import { drawn } from './documents.ts';
import { FIGURES, type Figures, mergeFigures, readFigures } from './figures.ts';
import { Report } from './report.ts';

const docs = join(import.meta.dirname, '../../docs');

it('the charts and tables of docs/ show the figures of the last run: `npm run bench -- --charts` draws them', () => {
  const files = drawn(readFigures(FIGURES));
  for (const [file, text] of Object.entries(files)) {
    expect(readFileSync(join(docs, file), 'utf8'), file).toBe(text);
  }
  const charts = readdirSync(join(docs, 'charts')).filter(name => name.endsWith('.svg'));
  expect(charts.map(name => `charts/${name}`).sort()).toEqual(
    Object.keys(files)
      .filter(name => name.endsWith('.svg'))
      .sort(),
  );
});

it('docs/performance.md shows every chart', () => {
  const page = readFileSync(join(docs, 'performance.md'), 'utf8');
  for (const name of readdirSync(join(docs, 'charts')).filter(name => name.endsWith('.svg'))) {
    expect(page).toMatch(new RegExp(`!\\[[^\\]]{20,}\\]\\(charts/${name}\\)`));
  }
});

it('a chart says in text what it shows, in light and in dark', () => {
  const spread = { median: 1234, least: 1000, most: 1500 };
  const svg = barChart({
    ...{ title: 'Signals & messages', description: 'One bar.', unit: '/s' },
    bars: [{ label: 'a < b', spread, isOurs: true }],
  });
  expect(svg).toContain('role="img" aria-labelledby="title description"');
  expect(svg).toContain('<title id="title">Signals &amp; messages</title>');
  expect(svg).toContain('<title>a &lt; b: 1,230/s, from 1,000 to 1,500</title>');
  expect(svg).toContain('prefers-color-scheme: dark');
});

it('a run replaces the figures of its sections, and no others', () => {
  const figure = (median: number) => ({ median, least: median, most: median, unit: '/s' });
  const origin = (at: string) => ({ at, machine: 'one', rough: false });
  const before: Figures = {
    measured: { a: origin('before'), b: origin('before') },
    figures: { 'a.gone': figure(1), 'a.kept': figure(2), 'b.other': figure(3) },
  };
  const now: Figures = { measured: { a: origin('now') }, figures: { 'a.kept': figure(4) } };
  expect(mergeFigures(before, now)).toEqual({
    measured: { a: origin('now'), b: origin('before') },
    figures: { 'a.kept': figure(4), 'b.other': figure(3) },
  });
});

it('a report keeps the median, the least and the most, and nothing that this system does not tell', () => {
  const report = new Report();
  report.record('a.rate', [30.00004, 10, 20], '/s');
  report.record('a.cpu', [Number.NaN, Number.NaN], 'µs');
  expect(report.figures).toEqual({ 'a.rate': { median: 20, least: 10, most: 30, unit: '/s' } });
});
