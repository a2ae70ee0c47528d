import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { SMTPServer } from 'smtp-server';
import { announce, reply } from './double.ts';

/*
 * A mail server (smtp-server) that keeps what it gets. Arguments: `secure` for TLS from the start, `plain` for none at all, and
 * `user:password` of who may send; without, anybody may.
 */

const args = process.argv.slice(2);
const secure = args.includes('secure');
const login = args.find(arg => arg.includes(':'));

const mails: { from: string; to: string[]; raw: string; secure: boolean; user: string | undefined }[] = [];
/** The names that clients asked for in TLS. */
const names: string[] = [];
/** Answers to come in place of what is right, the next first. */
const failures: { code: number; text: string }[] = [];

const server = new SMTPServer({
  secure,
  authOptional: login === undefined,
  disabledCommands: args.includes('plain') ? ['STARTTLS'] : [],
  allowInsecureAuth: true,
  // Its own certificate, of nobody that anybody trusts.
  SNICallback: (name: string, callback: (error: Error | null) => void) => {
    names.push(name);
    callback(null);
  },
  onAuth({ username, password }, _session, callback) {
    if (`${username}:${password}` === login) callback(null, { user: username });
    else callback(new Error('Invalid username or password'));
  },
  onData(stream, { envelope, secure, user }, callback) {
    const chunks: Buffer[] = [];
    stream.on('data', chunk => chunks.push(chunk));
    stream.on('end', () => {
      const failure = failures.shift();
      if (failure) return callback(Object.assign(new Error(failure.text), { responseCode: failure.code }));
      const from = envelope.mailFrom === false ? '' : envelope.mailFrom.address;
      const to = envelope.rcptTo.map(({ address }) => address);
      mails.push({ from, to, raw: Buffer.concat(chunks).toString(), secure, user });
      callback();
    });
  },
});
server.on('error', () => {});

const control = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on('data', chunk => chunks.push(chunk));
  request.on('end', () => {
    if (request.url === '/control/fail') failures.push(JSON.parse(Buffer.concat(chunks).toString()));
    reply(response, 200, { mails, names });
  });
});

const listen = (one: { listen: SMTPServer['listen'] }) =>
  new Promise<void>(resolve => one.listen(0, '127.0.0.1', () => resolve()));
await listen(server);
await new Promise<void>(resolve => control.listen(0, '127.0.0.1', resolve));
const { port } = server.server.address() as AddressInfo;
announce(
  `${secure ? 'smtps' : 'smtp'}://127.0.0.1:${port}`,
  `http://127.0.0.1:${(control.address() as AddressInfo).port}/`,
);
