import { agentsText } from '../hooks/agents-text.ts';
import { type HostName, hostNames } from '../hooks/hosts.ts';
import { defineCommand, exits, UsageError } from './command.ts';
import { findProgram } from './find-program.ts';
import { hostFilesOf, type Scope } from './host-edits.ts';

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
    const { print, tell } = context;
    if (values['agents-md']) {
      await print(agentsText.trimEnd(), { text: agentsText });
      return exits.done;
    }
    const host = hostOf(name, 'install');
    if (values.headless && host !== 'claude') throw new UsageError('--headless is for claude only; leave it out.');
    const files = hostFilesOf(host, installScope(values), context, values.headless);
    // Before any is written, each must be understood.
    const texts = files.map(file => ({ path: file.path, text: file.changed() }));
    if (values.print) {
      await print(printedFiles(texts), { files: texts });
      return exits.done;
    }
    const changed = files.filter(file => file.install()).map(({ path }) => path);
    if (!findProgram('forumbus', context.env))
      tell('`forumbus` is not on the PATH, so the hooks cannot run: install the package globally.');
    const said =
      changed.length > 0
        ? `Installed in ${changed.join(' and ')}${after[host]}`
        : `Nothing to do: ${files[0]?.path} has the hooks.`;
    await print(said, { files: files.map(({ path }) => ({ path, installed: changed.includes(path) })) });
    return exits.done;
  },
});

/** What files would be, each under its path if they are several. @param texts null for a file that would be gone */
export function printedFiles(texts: readonly { path: string; text: string | null }[]): string {
  const shown = texts.map(({ path, text }) => {
    if (text === null) return `${path} would not be there.`;
    return (texts.length > 1 ? `${path}:\n\n${text}` : text).trimEnd();
  });
  return shown.join('\n\n');
}

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
export function installScope({ project, user }: { project?: boolean; user?: boolean }): Scope {
  if (project && user) throw new UsageError('Give --project or --user, not both.');
  return project ? 'project' : 'user';
}
