import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chartsOf } from './charts.ts';
import type { Figures } from './figures.ts';
import { tables } from './tables.ts';

const docs = fileURLToPath(new URL('../../docs', import.meta.url));

/** Between these lines a page has a table of figures: "<!-- bench: name -->" and "<!-- bench end -->". */
const BLOCK = /(<!-- bench: ([\w ]+) -->\n)[\s\S]*?(<!-- bench end -->)/g;
const PAGES = ['performance.md', 'scaling.md'];

/** Draws charts and tables into docs/. */
export function draw(figures: Figures): void {
  mkdirSync(join(docs, 'charts'), { recursive: true });
  for (const [file, text] of Object.entries(drawn(figures))) writeFileSync(join(docs, file), text);
}

/** The files of docs/ that show figures, as they have to be. */
export function drawn(figures: Figures): Record<string, string> {
  const charts = Object.entries(chartsOf(figures)).map(([name, svg]) => [`charts/${name}.svg`, svg]);
  const pages = PAGES.map(name => [name, filled(readFileSync(join(docs, name), 'utf8'), figures)]);
  return Object.fromEntries([...charts, ...pages]);
}

/** @throws Error if a page asks for a table that there is not */
function filled(page: string, figures: Figures): string {
  return page.replace(BLOCK, (_all, begin: string, name: string, end: string) => {
    const table = tables[name];
    if (!table) throw new Error(`There is no table ${name}.`);
    return `${begin}\n${table(figures)}\n\n${end}`;
  });
}
