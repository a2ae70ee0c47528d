import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { agentsText } from '../hooks/agents-text.ts';
import { entries } from '../hooks/entries.ts';
import { type HostName, hostNames } from '../hooks/hosts.ts';
import { type Content, withEntries, withoutEntries } from '../hooks/merge.ts';
import { type Context, defineCommand, exits, UsageError } from './command.ts';
import { HostFile, hostFile, type Scope } from './host-files.ts';

export const scopeOptions = { project: { type: 'boolean' }, user: { type: 'boolean' } } as const;

export const command = defineCommand({
  name: 'install',
  summary: 'Make an agent’s host call Forumbus at its hooks',
  usage: `${hostNames.join('|')} [--project|--user] [--print]`,
  counts: { least: 0, most: 1 },
  words: hostNames,
  options: {
    ...scopeOptions,
    print: { type: 'boolean' },
    headless: { type: 'boolean' },
    'agents-md': { type: 'boolean' },
  },
  help: `  --user         in the settings of the user, for all projects; so without either
  --project      in the settings of this folder
  --print        prints what the file would be, and changes nothing
  --headless     Claude Code: nobody sits at the terminal, so questions wait for people here
  --agents-md    prints a text for AGENTS.md that tells agents when to ask
What is in the file stays. \`forumbus uninstall\` takes the hooks out again.`,
  async run(context, [name], values) {
    const { print, state, tell } = context;
    if (values['agents-md']) {
      await print(agentsText.trimEnd(), { text: agentsText });
      return exits.done;
    }
    const host = hostOf(name, 'install');
    if (values.headless && host !== 'claude') throw new UsageError('--headless is for claude only; leave it out.');
    const file = new HostFile(hostFile(host, scopeOf(values), context), state);
    const change = (content: Content) => withEntries(content, entries[host](), values.headless === true);
    if (values.print) {
      const text = file.changed(change);
      await print(text.trimEnd(), { path: file.path, text });
      return exits.done;
    }
    const isNew = file.install(change, withoutEntries);
    if (!isOnPath(context))
      tell('`forumbus` is not on the PATH, so the hooks cannot run: install the package globally.');
    await print(`${isNew ? 'Installed in' : 'Nothing to do:'} ${file.path}${isNew ? after[host] : ' has the hooks.'}`, {
      path: file.path,
      installed: isNew,
    });
    return exits.done;
  },
});

/** What a person has to do then. */
const after: Record<HostName, string> = {
  claude: '; sessions that begin now use it.',
  codex: '; trust the hooks when Codex asks at its next start.',
  gemini: '; sessions that begin now use it.',
  cursor: '; Cursor reads it by itself.',
  copilot: '; sessions that begin now use it.',
};

/** @throws UsageError */
export function hostOf(name: string | undefined, act: string): HostName {
  const host = hostNames.find(known => known === name);
  if (!host) throw new UsageError(`Name the host: forumbus ${act} ${hostNames.join('|')}.`);
  return host;
}

/** @throws UsageError */
export function scopeOf({ project, user }: { project?: boolean; user?: boolean }): Scope {
  if (project && user) throw new UsageError('Give --project or --user, not both.');
  return project ? 'project' : 'user';
}

function isOnPath({ env: { PATH = '' } }: Context): boolean {
  return PATH.split(delimiter).some(folder =>
    ['forumbus', 'forumbus.cmd'].some(file => {
      try {
        accessSync(join(folder, file), constants.X_OK);
        return true;
      } catch {
        return false;
      }
    }),
  );
}
