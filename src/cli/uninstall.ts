import { hostNames } from '../hooks/hosts.ts';
import { defineCommand, exits } from './command.ts';
import { hostFilesOf } from './host-edits.ts';
import { hostOf, scopeOf, scopeOptions } from './install.ts';

export const command = defineCommand({
  name: 'uninstall',
  summary: 'Take the hooks out of an agent’s host again',
  usage: `${hostNames.join('|')} [--project|--user]`,
  counts: { least: 1, most: 1 },
  words: hostNames,
  options: scopeOptions,
  help: 'What others have changed since stays. A file that nobody has changed is what it was before.',
  async run(context, [name], values) {
    const host = hostOf(name, 'uninstall');
    const files = hostFilesOf(host, scopeOf(values), context);
    // The folder of the first one goes with it, if the others have left it.
    const changed = files
      .toReversed()
      .filter(file => file.uninstall())
      .map(({ path }) => path);
    const said =
      changed.length > 0
        ? `The hooks are gone from ${changed.join(' and ')}.`
        : `${files[0]?.path} has no hooks of Forumbus.`;
    await context.print(said, { files: files.map(({ path }) => ({ path, uninstalled: changed.includes(path) })) });
    return exits.done;
  },
});
