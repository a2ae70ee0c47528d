import { hostNames } from '../hooks/hosts.ts';
import { defineCommand, exits } from './command.ts';
import { hostFilesOf } from './host-edits.ts';
import { hostOf, installScope, printedFiles, scopeOptions } from './install.ts';

export const command = defineCommand({
  name: 'uninstall',
  summary: 'Take the hooks out of an agent’s host again',
  usage: `${hostNames.join('|')} [--project|--user] [--print]`,
  counts: { least: 1, most: 1 },
  words: hostNames,
  options: { ...scopeOptions, print: { type: 'boolean' } },
  help: `  --user         from the settings of the user; so without either
  --project      from the settings of this folder
  --print        prints what the file would be, and changes nothing
What others have changed since stays. A file that nobody has changed is what it was before.`,
  async run(context, [name], values) {
    const host = hostOf(name, 'uninstall');
    const files = hostFilesOf(host, installScope(values), context);
    if (values.print) {
      const texts = files.map(file => ({ path: file.path, text: file.restored() }));
      await context.print(printedFiles(texts), { files: texts });
      return exits.done;
    }
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
