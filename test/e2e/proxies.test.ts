import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { openPerson } from '../helpers/browser.ts';
import { openBrowser } from '../helpers/chromium.ts';
import { spawnCli } from '../helpers/cli.ts';
import { scratchDatabase } from '../helpers/engines.ts';
import { region } from '../helpers/hooks.ts';
import { freePort } from '../helpers/ports.ts';
import { type AtEnd, type ServiceProcess, startService } from '../helpers/process.ts';
import { missing, startCaddy, startNginx } from '../helpers/proxies.ts';
import { signal } from '../helpers/signals.ts';
import { StreamReader } from '../helpers/stream.ts';
import { bearer, people, type Tokens, withTokens } from '../helpers/tokens.ts';

/*
 * operations/nginx.conf and operations/Caddyfile before a real service that has the settings which they name. Only ports,
 * addresses and paths of files are other ones, and the certificate is made here.
 */

/** Where a proxy of the test is, and what is behind it. */
interface Places {
  service: string;
  port: number;
  tls: number;
  crt: string;
  key: string;
  log: string;
}

interface Proxy {
  name: string;
  file: string;
  reason: string;
  /** The file with the values of the test; each that it replaces must be in it. */
  adapted: (file: string, places: Places) => string;
  start: (text: (folder: string) => Promise<string>, answers: () => Promise<unknown>, atEnd: AtEnd) => Promise<string>;
  /** How long it waits for an answer. Seconds. */
  patience: RegExp;
  /** The statuses with which it refuses a body that is too large. */
  tooLarge: number[];
}

const replaced = (file: string, changes: Record<string, string>) =>
  Object.entries(changes).reduce((text, [from, to]) => {
    if (!text.includes(from)) throw new Error(`The file lacks "${from}".`);
    return text.replaceAll(from, to);
  }, file);

const proxies: Proxy[] = [
  {
    name: 'nginx',
    file: 'nginx.conf',
    reason: missing(['nginx', '-v'], ['openssl', 'version']),
    adapted: (file, { service, port, tls, crt, key }) =>
      replaced(file, {
        '127.0.0.1:4010': service,
        'listen 80;': `listen 127.0.0.1:${port};`,
        'listen [::]:80;': '',
        'listen 443 ': `listen 127.0.0.1:${tls} `,
        'listen [::]:443 ssl http2;': '',
        '/etc/ssl/forumbus/fullchain.pem': crt,
        '/etc/ssl/forumbus/privkey.pem': key,
      }),
    start: (http, answers, atEnd) => startNginx({ http, answers }, atEnd),
    patience: /proxy_read_timeout (\d+)s/,
    tooLarge: [413],
  },
  {
    name: 'Caddy',
    file: 'Caddyfile',
    reason: missing(['caddy', 'version'], ['openssl', 'version']),
    adapted: (file, { service, port, tls, crt, key, log }) => {
      const options = ['admin off', `http_port ${port}`, `https_port ${tls}`, 'default_bind 127.0.0.1'];
      // Browsers and programs name no server that is an address.
      options.push('default_sni 127.0.0.1');
      // What the file says for whoever adds a log; before Caddy 2.8 it has the other name.
      const [, skip = ''] = /`(log_skip \S+)`/.exec(file) ?? [];
      const [, minor] = /^v?2\.(\d+)/.exec(String(spawnSync('caddy', ['version']).stdout)) ?? [];
      const ours = [`tls ${crt} ${key}`, `log {\n output file ${log}\n}`];
      ours.push(Number(minor) < 8 ? skip.replace('log_skip', 'skip_log') : skip);
      const changes = { '127.0.0.1:4010': service, 'forumbus.example.com {': ['127.0.0.1 {', ...ours].join('\n') };
      return `{\n${options.join('\n')}\n}\n${replaced(file, changes)}`;
    },
    start: (text, answers, atEnd) => startCaddy(text, { answers }, atEnd),
    patience: /read_timeout (\d+)s/,
    // Older versions blame the service.
    tooLarge: [413, 502],
  },
];

function makeCertificate(folder: string): { crt: string; key: string } {
  const [crt, key] = [join(folder, 'crt.pem'), join(folder, 'key.pem')];
  const names = ['-subj', '/CN=forumbus.example.com', '-addext', 'subjectAltName=IP:127.0.0.1'];
  const { status, stderr } = spawnSync(
    'openssl',
    ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', ...names].concat([
      '-keyout',
      key,
      '-out',
      crt,
    ]),
    { encoding: 'utf8' },
  );
  if (status !== 0) throw new Error(stderr);
  return { crt, key };
}

for (const { file, reason, adapted, start, patience, tooLarge } of proxies)
  describe.runIf(reason === '')(`a service behind operations/${file}${reason}`, () => {
    const conf = readFileSync(join(import.meta.dirname, '../../operations', file), 'utf8');
    const settings = Object.fromEntries(
      (/^#\s+(BASE_PATH=.*)$/m.exec(conf)?.[1] ?? '').split(' ').map(pair => pair.split('=') as [string, string]),
    );
    let service: ServiceProcess;
    let tokens: Tokens;
    let folder: string;
    let crt: string;
    let ca: string;
    let plain: string;
    let origin: string;
    let url: string;

    interface Asked {
      method?: string;
      headers?: Record<string, string>;
      body?: string;
      /** The address that it comes from. */
      from?: string;
    }
    /** Sends a request; its answer may still arrive. */
    async function open(
      at: string,
      { method = 'GET', headers = {}, body, from }: Asked = {},
    ): Promise<IncomingMessage> {
      const options = { method, headers, agent: false, ...(from !== undefined && { localAddress: from }) };
      const sent = at.startsWith('https:') ? httpsRequest(at, { ...options, ca }) : httpRequest(at, options);
      sent.end(body);
      const [response] = await once(sent, 'response');
      return response;
    }
    async function ask(at: string, asked?: Asked) {
      const response = await open(at, asked);
      return { status: response.statusCode, headers: response.headers, body: await text(response) };
    }

    beforeAll(async () => {
      const ends: Parameters<AtEnd>[0][] = [];
      const atEnd: AtEnd = end => void ends.unshift(end);
      const scratch = await scratchDatabase('sqlite');
      atEnd(scratch.drop);
      service = await startService({ ...settings, DATABASE_URL: scratch.url, RATE_LIMIT_PER_MINUTE: '0' }, {}, atEnd);
      const [port, tls] = [await freePort(), await freePort()];
      [plain, origin] = [`http://127.0.0.1:${port}`, `https://127.0.0.1:${tls}`];
      url = origin + settings.BASE_PATH;
      const text = async (path: string) => {
        const made = makeCertificate(path);
        crt = made.crt;
        ca = await readFile(crt, 'utf8');
        const places = {
          service: (await service.listening()).replace('http://', ''),
          port,
          tls,
          ...made,
          log: join(path, 'access.log'),
        };
        return adapted(conf, places);
      };
      folder = await start(text, async () => expect((await ask(`${url}/livez`)).status).toBe(200), atEnd);
      const direct = await service.listening();
      tokens = await withTokens({
        url: scratch.url,
        send: (method, path, body, headers) => service.send(method, settings.BASE_PATH + path, body, headers),
      });
      expect((await ask(`${direct}/livez`)).status).toBe(404);
      return async () => {
        for (const end of ends) await end();
      };
    }, 60_000);

    const post = (path: string, body: object, headers: Record<string, string> = bearer(tokens.first.token)) =>
      ask(url + path, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: JSON.stringify(body),
      });

    it('is reached by TLS only, and below its path only', async () => {
      expect(await ask(`${plain}/forumbus/a?b`)).toMatchObject({
        status: 308,
        headers: { location: expect.stringMatching(/^https:\/\/127\.0\.0\.1(:\d+)?\/forumbus\/a\?b$/) },
      });
      const html = { headers: { accept: 'text/html' } };
      const bare = await ask(`${origin}/forumbus`, html);
      expect([bare.status, new URL(String(bare.headers.location), origin).href]).toEqual([308, `${url}/`]);
      for (const path of ['/', '/livez', '/forumbusx/livez']) expect((await ask(origin + path)).status).toBe(404);
      const shown = await ask(`${url}/`, html);
      expect(shown).toMatchObject({ status: 200, headers: { 'strict-transport-security': 'max-age=31536000' } });
    });

    it('streams event by event, and passes on what has come meanwhile', async () => {
      const stream = new StreamReader(await open(`${url}/events/stream`, { headers: bearer(tokens.first.token) }));
      onTestFinished(() => stream.leave());
      for (const summary of ['one', 'two']) {
        expect((await post('/control-signals', signal('completion', { summary }))).status).toBe(201);
        await expect.poll(async () => (await stream.event()).payload).toMatchObject({ summary });
      }
    });

    it('holds a wait, with more patience than the service', async () => {
      const asked = await post('/control-signals', signal('guidance_request', { run_id: 'wait' }));
      const { question_id, version } = JSON.parse(asked.body).question;
      expect(asked.headers.location).toMatch(/^\/forumbus\/control-signals\//);
      expect((await ask(origin + asked.headers.location, { headers: bearer(tokens.first.token) })).status).toBe(200);
      const waiting = ask(`${url}/questions/${question_id}?wait=50`, {
        headers: { ...bearer(tokens.first.token), 'if-none-match': `"${version}"` },
      });
      const metrics = async () => (await ask(`${url}/metrics`, { headers: bearer(tokens.first.token) })).body;
      await expect.poll(metrics).toContain('forumbus_waiters{resource="question"} 1\n');
      await tokens.admin('PUT', `/questions/${question_id}/answer`, { answer: 'eu' });
      expect(JSON.parse((await waiting).body)).toMatchObject({ state: 'answered', answer: 'eu' });
      const [, seconds] = patience.exec(conf) ?? [];
      expect(Number(seconds)).toBeGreaterThan(60);
    });

    it('holds a hook until people answer, and ends its question with the connection', async () => {
      const headers = { 'content-type': 'application/json', ...bearer(tokens.first.token) };
      const fire = (run: string) => {
        const event = { hook_event_name: 'PermissionRequest', session_id: 's-1', tool_name: 'AskUserQuestion' };
        const body = JSON.stringify({ ...event, tool_input: { questions: [region] } });
        const sent = httpsRequest(`${url}/hooks/claude?run=${run}`, { method: 'POST', headers, agent: false, ca });
        sent.on('error', () => {});
        sent.end(body);
        return sent;
      };
      const questions = async (run: string) => (await tokens.admin('GET', `/questions?run_id=${run}`)).body.items;
      const asked = async (run: string) => {
        await expect.poll(() => questions(run)).toMatchObject([{ state: 'open' }]);
        return (await questions(run))[0].question_id;
      };
      const held = once(fire('held'), 'response');
      await tokens.admin('PUT', `/questions/${await asked('held')}/answer`, { selected: ['eu-west-1'] });
      const [response] = await held;
      expect(JSON.parse(await text(response)).hookSpecificOutput.decision).toMatchObject({ behavior: 'allow' });
      const left = fire('left');
      await asked('left');
      left.destroy();
      await expect.poll(() => questions('left')).toMatchObject([{ state: 'cancelled' }]);
    });

    it('knows callers by their own addresses, whatever they say', async () => {
      const knock = (from: string, index: number) =>
        ask(`${url}/stats`, { from, headers: { 'x-forwarded-for': `192.0.2.${index}`, 'x-forwarded-proto': 'http' } });
      const statuses: unknown[] = [];
      for (let index = 0; index < 61; index += 1) statuses.push((await knock('127.0.0.2', index)).status);
      expect(statuses.lastIndexOf(401)).toBe(59);
      expect(statuses[60]).toBe(429);
      expect((await knock('127.0.0.3', 1)).status).toBe(401);
    });

    it('takes a body as large as the service does', async () => {
      const message = (bytes: number) => ({ topic: 'large', payload: 'x'.repeat(bytes) });
      expect((await post('/outbox', message(1_000_000))).status).toBe(201);
      expect(tooLarge).toContain((await post('/outbox', message(1_100_000))).status);
    });

    it('serves the command line', async () => {
      const env = {
        FORUMBUS_URL: url,
        FORUMBUS_TOKEN: tokens.first.token,
        NODE_EXTRA_CA_CERTS: crt,
        XDG_STATE_HOME: folder,
      };
      const run = (...args: string[]) => spawnCli(args, { env, cwd: folder }).ended;
      const asking = run(
        'ask',
        'Which region?',
        '-o',
        'eu',
        '-o',
        'us',
        '--run',
        'cli',
        '--agent',
        'builder',
        '--wait',
        '20s',
      );
      await expect
        .poll(() => run('inbox', '--run', 'cli'), { timeout: 20_000 })
        .toMatchObject({ out: expect.stringContaining('Which region?') });
      const [question] = (await tokens.admin('GET', '/questions?run_id=cli')).body.items;
      expect(await run('answer', question.question_id, 'us')).toMatchObject({ code: 0, err: '' });
      expect(await asking).toEqual({ code: 0, out: 'us', err: '' });
    }, 60_000);

    it('logs no answer link', async () => {
      const secret = `${'x'.repeat(40)}.${'y'.repeat(43)}`;
      expect((await ask(`${url}/a/${secret}`)).status).toBe(404);
      expect((await ask(`${url}/version?after`)).status).toBeLessThan(500);
      await expect.poll(() => readFile(join(folder, 'access.log'), 'utf8')).toContain('/version?after');
      expect(await readFile(join(folder, 'access.log'), 'utf8')).not.toContain(secret);
      expect(JSON.stringify(service.logs)).not.toContain(secret);
    });

    it('shows its page: a person logs in by a link, and answers what comes', async () => {
      const browser = await openBrowser();
      onTestFinished(() => browser.close());
      const { page, context } = await openPerson(browser, origin, { ignoreHTTPSErrors: true });
      const { token } = await tokens.issue({ role: 'operator', actor: people.operator });
      const { path } = JSON.parse((await post('/page/links', {}, bearer(token))).body);
      await page.goto(url + path);
      await page.getByText('live · ana').waitFor();
      const [cookie] = await context.cookies();
      expect(cookie).toMatchObject({ path: '/forumbus', secure: true, httpOnly: true, sameSite: 'Strict' });
      const asked = await post(
        '/control-signals',
        signal('guidance_request', { run_id: 'page', options: ['yes', 'no'] }),
      );
      const { question_id } = JSON.parse(asked.body).question;
      await page.locator(`#q-${question_id}`).getByRole('button', { name: 'no' }).click();
      await expect
        .poll(async () => (await tokens.admin('GET', `/questions/${question_id}`)).body, { timeout: 15_000 })
        .toMatchObject({ answer: 'no', answered_in: 'page' });
      await page.goto(`${url}/q/${question_id}`);
      await page.getByText('answered').first().waitFor();
    }, 60_000);
  });
