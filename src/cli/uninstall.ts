import { hostNames } from '../hooks/hosts.ts';
import { isBlank, withoutEntries } from '../hooks/merge.ts';
import { defineCommand, exits } from './command.ts';
import { HostFile, hostFile } from './host-files.ts';
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
    const file = new HostFile(hostFile(host, scopeOf(values), context), context.state);
    const uninstalled = file.uninstall(withoutEntries, isBlank);
    const said = uninstalled ? `The hooks are gone from ${file.path}.` : `${file.path} has no hooks of Forumbus.`;
    await context.print(said, { path: file.path, uninstalled });
    return exits.done;
  },
});
