import { dirname, join } from 'node:path';
import { withoutServer, withServer } from '../hooks/codex-config.ts';
import { entries } from '../hooks/entries.ts';
import type { HostName } from '../hooks/hosts.ts';
import {
  type Content,
  isBlank,
  isHeadless,
  isObject,
  MalformedHooks,
  withEntries,
  withoutEntries,
  withoutHeadless,
} from '../hooks/merge.ts';
import type { Context } from './command.ts';
import { type Edit, HostFile } from './host-files.ts';
import { userHome } from './state-folder.ts';

export type Scope = 'project' | 'user';

/** The file of a host that holds hooks, in the folder of a project or of the user. */
function hostFile(host: HostName, scope: Scope, { env, cwd }: Pick<Context, 'env' | 'cwd'>): string {
  const home = env.HOME || userHome();
  const own = (folder: string) => (scope === 'project' ? join(cwd, folder) : join(home, folder));
  const configured = (folder: string, setting: string | undefined) =>
    scope === 'user' && setting ? setting : own(folder);
  switch (host) {
    case 'claude':
      return join(configured('.claude', env.CLAUDE_CONFIG_DIR), 'settings.json');
    case 'codex':
      return join(configured('.codex', env.CODEX_HOME), 'hooks.json');
    case 'gemini':
      return join(own('.gemini'), 'settings.json');
    case 'cursor':
      return join(own('.cursor'), 'hooks.json');
    case 'copilot':
      return join(own(scope === 'project' ? '.github' : '.copilot'), 'hooks', 'forumbus.json');
  }
}

/** All files that `forumbus install` changes for a host; that of the hooks is the first. */
export function hostFilesOf(
  host: HostName,
  scope: Scope,
  context: Pick<Context, 'env' | 'cwd' | 'state'>,
  headless = false,
): HostFile[] {
  const path = hostFile(host, scope, context);
  const hooks = new HostFile(path, hooksEdit(host, headless), context.state);
  if (host !== 'codex') return [hooks];
  return [hooks, new HostFile(join(dirname(path), 'config.toml'), serverEdit, context.state)];
}

/** Hooks in a JSON file, whose indentation stays. */
function hooksEdit(host: HostName, headless: boolean): Edit {
  return {
    add: (text, before) =>
      serialized(withEntries(withoutOurHeadless(contentOf(text), before), entries[host](), headless), text),
    remove: (text, before) => {
      const content = contentOf(text);
      const rest = withoutEntries(withoutOurHeadless(content, before));
      return JSON.stringify(rest) === JSON.stringify(content) ? text : serialized(rest, text);
    },
    isBlank: text => isBlank(contentOf(text)),
  };
}

/** What `--headless` has set goes; what a person has set stays. @param before the text before the first install */
function withoutOurHeadless(content: Content, before: string | null | undefined): Content {
  const isOurs = before !== undefined && !isHeadless(contentOf(before));
  return isOurs ? withoutHeadless(content) : content;
}

/** The MCP server in the TOML file of Codex. */
const serverEdit: Edit = {
  add: text => withServer(text ?? ''),
  remove: withoutServer,
  isBlank: text => text.trim() === '',
};

/** @throws MalformedHooks */
function contentOf(text: string | null): Content {
  let content: unknown;
  try {
    content = text === null ? {} : JSON.parse(text, exactNumber);
  } catch {
    // Said below.
  }
  if (isObject(content)) return content;
  throw new MalformedHooks('there is no JSON object');
}

/** The types of TypeScript lack it (https://github.com/tc39/proposal-json-parse-with-source). */
const { rawJSON } = JSON as unknown as { rawJSON(text: string): unknown };

/** A number as others wrote it: parsed, a large one would be rounded. */
function exactNumber(_name: string, value: unknown, { source }: { source?: string } = {}): unknown {
  return typeof value === 'number' && source !== undefined && String(value) !== source ? rawJSON(source) : value;
}

function serialized(content: Content, before: string | null): string {
  const [, indent = '  '] = /^\{\r?\n([ \t]+)"/.exec(before ?? '') ?? [];
  return `${JSON.stringify(content, null, indent)}\n`;
}
