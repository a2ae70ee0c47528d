import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export const root = join(import.meta.dirname, '../..');

export interface Page {
  /** Its path from the root of the repository. */
  name: string;
  text: string;
}

/** A fenced block. */
export interface Block {
  /** Of the opening fence, from 1. */
  line: number;
  language: string;
  /** What stands behind the language: `service`, or a keyword with a colon and its argument. */
  keyword: string;
  argument: string;
  code: string;
}

const names = [
  ...['README.md', 'ARCHITECTURE.md', 'CHANGELOG.md', 'CONTRIBUTING.md', 'SECURITY.md'].filter(name =>
    readdirSync(root).includes(name),
  ),
  ...readdirSync(join(root, 'docs'))
    .filter(name => name.endsWith('.md'))
    .map(name => `docs/${name}`),
];

/** Every page of the documentation. */
export const pages: Page[] = names.map(name => ({ name, text: readFileSync(join(root, name), 'utf8') }));

/** @throws if there is no such page */
export function pageOf(name: string): Page {
  const page = pages.find(candidate => candidate.name === name);
  if (!page) throw new Error(`There is no page ${name}.`);
  return page;
}

const FENCE = /^```(\w*) ?(\w*)(?:: (.*))?\n([\s\S]*?)^```$/gm;

export function blocksOf({ text }: Page): Block[] {
  return [...text.matchAll(FENCE)].map(
    ({ index, 1: language = '', 2: keyword = '', 3: argument = '', 4: code = '' }) => ({
      line: text.slice(0, index).split('\n').length,
      language,
      keyword,
      argument,
      code,
    }),
  );
}

/** A page without its fenced blocks: there, `#` is a comment and brackets are code. */
export function prose({ text }: Page): string {
  return text.replaceAll(FENCE, '');
}

/** The anchors that a forge gives to the headings of a page. */
export function anchorsOf(page: Page): string[] {
  const seen = new Map<string, number>();
  return [...prose(page).matchAll(/^#+ (.+)$/gm)].map(([, title = '']) => {
    const anchor = title
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
      .replaceAll(' ', '-');
    const times = seen.get(anchor) ?? 0;
    seen.set(anchor, times + 1);
    return times === 0 ? anchor : `${anchor}-${times}`;
  });
}

/** The rows of the table with this head, without the head. Cells are trimmed. */
export function tableOf(page: Page, head: string[]): string[][] {
  const rows = page.text.split('\n').map(line =>
    line.startsWith('|')
      ? line
          .split('|')
          .slice(1, -1)
          .map(cell => cell.trim())
      : [],
  );
  const start = rows.findIndex(row => row.join('|') === head.join('|'));
  if (start < 0) throw new Error(`${page.name} has no table with the head ${head.join(', ')}.`);
  const body = rows.slice(start + 2);
  const length = body.findIndex(row => row.length === 0);
  return length < 0 ? body : body.slice(0, length);
}

/** What the first group of a pattern finds in all pages, once each. */
export function found(pattern: RegExp, within: Page[] = pages): string[] {
  return [...new Set(within.flatMap(({ text }) => [...text.matchAll(pattern)].map(match => match[1] as string)))];
}
