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

/** Any spelling of a table's name, and a table inside of it. */
const OWN = /^\s*\[\s*"?mcp_servers"?\s*\.\s*["']?forumbus["']?\s*[.\]]/;

/** A text with our server; one that a person has written stays. @throws MalformedHooks */
export function withServer(text: string): string {
  const rest = withoutServer(text);
  const lines = rest.split('\n');
  if (lines.some(line => OWN.test(line))) return rest;
  // A table that is written in one line cannot be added to.
  if (lines.some(line => /^\s*"?mcp_servers"?\s*=/.test(line))) throw new MalformedHooks('`mcp_servers` is no table');
  const before = rest.trim() === '' ? '' : `${rest.replace(/\n*$/, '')}\n\n`;
  return `${before}${TABLE.join('\n')}\n`;
}

/** A text without our server, and without the tables that others have put inside of it. */
export function withoutServer(text: string): string {
  if (!text.split('\n').includes(MARK)) return text;
  const kept: string[] = [];
  let isOurs = false;
  for (const line of text.split('\n')) {
    const starts = line === MARK || OWN.test(line);
    isOurs = starts || (isOurs && line.trim() !== '' && !/^\s*[[#]/.test(line));
    if (line === MARK && kept.at(-1) === '') kept.pop();
    if (!isOurs) kept.push(line);
  }
  return kept.join('\n');
}
