import { spawn } from 'node:child_process';
import { defineCommand, exits } from './command.ts';

export const command = defineCommand({
  name: 'open',
  summary: 'Open the page for people in a browser, logged in as you',
  usage: '[--print]',
  counts: { least: 0, most: 0 },
  options: { print: { type: 'boolean' } },
  help: `Prints the address and, on a terminal, opens it. With tokens, it is a link that logs one browser in, once and within a minute.

  --print    opens nothing`,
  async run({ client, identity, print, stdout }, _positionals, { print: onlyPrint = false, json = false }) {
    const { access } = await client.me();
    const root = identity.url.replace(/\/+$/, '');
    const link = access === 'open' ? { path: '/', expires_at: null } : await client.logins.link();
    const url = root + link.path;
    await print(url, { url, expires_at: link.expires_at });
    if (stdout.isTTY && !onlyPrint && !json) show(url);
    return exits.done;
  },
});

/** Opens an address in the person's browser; without one, the printed address has to do. */
function show(url: string): void {
  const [command, ...args] = { darwin: ['open'], win32: ['explorer'] }[process.platform as string] ?? ['xdg-open'];
  const child = spawn(command as string, [...args, url], { stdio: 'ignore', detached: true });
  child.on('error', () => {});
  child.unref();
}
