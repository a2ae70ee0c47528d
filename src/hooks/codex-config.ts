import { MalformedHooks } from './merge.ts';

/* The MCP server in the `config.toml` of Codex, changed line by line: other lines, comments included, stay as they are. */

/** Tells our table from one that a person has written. */
const MARK = '# By `forumbus install codex`.';
/** Codex hands servers no other variable. */
const VARIABLES = ['FORUMBUS_URL', 'FORUMBUS_TOKEN', 'FORUMBUS_TOKEN_FILE', 'FORUMBUS_RUN', 'FORUMBUS_AGENT'];
const TABLE = [
  MARK,
  '[mcp_servers.forumbus]',
  'command = "forumbus"',
  'args = ["mcp", "codex"]',
  `env_vars = [${VARIABLES.map(name => `"${name}"`).join(', ')}]`,
];

const OWN = ['mcp_servers', 'forumbus'];
/** A part of a key: in basic quotes, in literal ones, or bare. */
const PART = String.raw`(?:"(?:[^"\\]|\\.)*"|'[^']*'|[\w-]+)`;
const KEY = String.raw`${PART}(?:\s*\.\s*${PART})*`;
const TABLE_LINE = new RegExp(String.raw`^\s*\[{1,2}\s*(${KEY})\s*\]`);
const VALUE_LINE = new RegExp(String.raw`^\s*(${KEY})\s*=`);

/** A text with our server; one that a person has written stays. @throws MalformedHooks */
export function withServer(text: string): string {
  const rest = withoutServer(text);
  let table: string[] = [];
  for (const line of rest.split('\n')) {
    table = tableOf(line) ?? table;
    const key = partsOf(VALUE_LINE.exec(line)?.[1]);
    const path = [...table, ...(key ?? [])];
    if (isOwn(path)) return rest;
    // A table that is written in one line cannot be added to.
    if (key && path.length === 1 && path[0] === OWN[0]) throw new MalformedHooks('`mcp_servers` is no table');
  }
  const before = rest.trim() === '' ? '' : `${rest.replace(/\n*$/, '')}\n\n`;
  return `${before}${TABLE.join('\n')}\n`;
}

/** A text without our server, and without the tables that others have put inside of it. */
export function withoutServer(text: string): string {
  if (!text.split('\n').includes(MARK)) return text;
  const kept: string[] = [];
  let isOurs = false;
  for (const line of text.split('\n')) {
    const starts = line === MARK || isOwn(tableOf(line) ?? []);
    isOurs = starts || (isOurs && line.trim() !== '' && !/^\s*[[#]/.test(line));
    if (line === MARK && kept.at(-1) === '') kept.pop();
    if (!isOurs) kept.push(line);
  }
  return kept.join('\n');
}

/** Whether a path is that of our server, or of something inside of it. */
function isOwn(path: string[]): boolean {
  return OWN.every((part, index) => path[index] === part);
}

/** The table that begins with a line. */
function tableOf(line: string): string[] | undefined {
  return partsOf(TABLE_LINE.exec(line)?.[1]);
}

function partsOf(key: string | undefined): string[] | undefined {
  return key?.match(new RegExp(PART, 'g'))?.map(part => (/^["']/.test(part) ? part.slice(1, -1) : part));
}
