import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { withoutTrace } from '../helpers/database.ts';
import { engines } from '../helpers/engines.ts';
import { expectProblem } from '../helpers/problems.ts';
import { runCommand } from '../helpers/process.ts';
import { signal } from '../helpers/signals.ts';
import { exchange, listen } from '../helpers/socket.ts';
import { openStream } from '../helpers/stream.ts';
import { bearer, firstToken, people } from '../helpers/tokens.ts';
import { settled } from '../helpers/waits.ts';

const ALLOWED = 'https://board.example';

describe('a service without tokens', () => {
  let service: TestApp;
  beforeAll(async () => {
    service = await startApp('sqlite', { config: { CORS_ORIGINS: `${ALLOWED},http://localhost:3000` } });
  });
  afterAll(() => service.close());

  const hosts = ['localhost', 'LOCALHOST', 'LocalHost:4010', '127.0.0.1', '127.0.0.1:80', '127.1.2.3:4010', '[::1]'];
  it.each([...hosts, '[::1]:4010', 'localhost:65535'])('answers to the host %s', async host => {
    for (const path of ['/stats', '/livez', '/docs/', '/openapi.json']) {
      expect((await service.app.inject({ url: path, headers: { host } })).statusCode).toBe(200);
    }
  });

  it.each([
    'evil.example',
    'evil.example:4010',
    'localhost.evil.example',
    'evil-localhost',
    'localhost:4010.evil.example',
    '127.0.0.1.evil.example',
    '127.0.0.1@evil.example',
    'evil.example#localhost',
    'localhost, evil.example',
    '0.0.0.0',
    '0.0.0.0:4010',
    '10.0.0.1',
    '192.168.1.7:4010',
    '[::]',
    '[::2]:4010',
    '::1',
    '[::1',
    'localhost:',
    'localhost:x',
    'localhost:123456',
    'localhost.',
    '2130706433',
    '0x7f000001',
  ])('answers to no page that came to it by the host %s', async host => {
    for (const path of ['/stats', '/livez', '/nowhere', '/docs/', '/openapi.json']) {
      const { statusCode: status, headers, body } = await service.app.inject({ url: path, headers: { host } });
      expectProblem({ status, headers, body: JSON.parse(body) }, 'HOST_NOT_ALLOWED');
    }
    const write = () => service.send('POST', '/control-signals', signal('completion'), { host });
    expectProblem(await withoutTrace(service.url, write), 'HOST_NOT_ALLOWED');
  });

  it('answers to a request of HTTP/1.0, which names no host and which no browser sends', async () => {
    const port = await listen(service.app);
    expect((await exchange(port, 'GET /stats HTTP/1.0\r\n\r\n')).status).toBe(200);
    expect((await exchange(port, 'GET /stats HTTP/1.0\r\nHost: evil.example\r\n\r\n')).status).toBe(403);
    expect((await exchange(port, 'GET /stats HTTP/1.0\r\nOrigin: http://evil.example\r\n\r\n')).status).toBe(403);
    expect((await exchange(port, 'GET /stats HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n')).status).toBe(403);
    const twice = 'GET /stats HTTP/1.1\r\nHost: evil.example\r\nHost: localhost\r\nConnection: close\r\n\r\n';
    expect((await exchange(port, twice)).status).toBeGreaterThanOrEqual(400);
    const absolute = 'GET http://evil.example/stats HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n';
    expect((await exchange(port, absolute)).status).toBeGreaterThanOrEqual(400);
  });

  const host = 'localhost:4010';
  it.each(['http://localhost:4010', ALLOWED, 'http://localhost:3000'])('lets the origin %s in', async origin => {
    for (const site of ['same-origin', 'same-site', 'cross-site']) {
      const headers = { host, origin, 'sec-fetch-site': site, 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'empty' };
      expect((await service.send('GET', '/stats', undefined, headers)).status).toBe(200);
      expect((await service.send('POST', '/control-signals', signal('completion'), headers)).status).toBe(201);
    }
  });

  it.each([
    'null',
    '',
    'http://evil.example',
    'http://localhost',
    'http://localhost:4011',
    'http://127.0.0.1:4010',
    'https://localhost:4010',
    'http://localhost:4010.evil.example',
    'http://evil.example/http://localhost:4010',
    `${ALLOWED}.evil.example`,
    `${ALLOWED}:444`,
    'http://board.example',
    `${ALLOWED},http://localhost:3000`,
  ])('keeps the origin %s out', async origin => {
    const refused = await withoutTrace(service.url, () =>
      service.send('POST', '/control-signals', signal('completion'), { host, origin }),
    );
    expectProblem(refused, 'ORIGIN_NOT_ALLOWED');
    for (const path of ['/stats', '/bus/health', '/nowhere', '/events/stream']) {
      expectProblem(await service.send('GET', path, undefined, { host, origin }), 'ORIGIN_NOT_ALLOWED');
    }
  });

  it('is no part of the pages of others: no image, script, frame or style, and no stream behind one', async () => {
    for (const site of ['cross-site', 'same-site']) {
      for (const destination of ['image', 'script', 'iframe', 'style', 'object', 'video', 'empty', '']) {
        for (const path of ['/runs/run-1', '/events/stream', '/livez', '/docs/']) {
          const headers = { host, 'sec-fetch-site': site, 'sec-fetch-dest': destination };
          const { statusCode: status, headers: given, body } = await service.app.inject({ url: path, headers });
          expectProblem({ status, headers: given, body: JSON.parse(body) }, 'ORIGIN_NOT_ALLOWED');
        }
      }
      // A link may lead here.
      const link = { host, 'sec-fetch-site': site, 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' };
      expect((await service.send('GET', '/docs/', undefined, link)).status).toBe(200);
    }
    for (const site of ['same-origin', 'none']) {
      const own = { host, 'sec-fetch-site': site, 'sec-fetch-dest': 'script' };
      expect((await service.send('GET', '/stats', undefined, own)).status).toBe(200);
    }
  });

  it('takes no notice of tokens', async () => {
    expect((await service.send('GET', '/stats', undefined, { authorization: 'Bearer nonsense' })).status).toBe(200);
  });
});

describe.each(engines)('the first token on %s', engine => {
  async function started(POLL_INTERVAL_MS: string) {
    const service = await startApp(engine, { config: { POLL_INTERVAL_MS } });
    onTestFinished(() => service.close());
    const { question } = (await service.send('POST', '/control-signals', signal('guidance_request'))).body;
    const stream = await openStream(`http://127.0.0.1:${await listen(service.app)}`, '?after=1000');
    await stream.frame();
    const waiting = service.send('GET', `/questions/${question.question_id}?wait=50`);
    await settled(service.send);
    /** What was under way without a token ends. */
    const ended = async () => {
      for (;;) if ((await stream.frame()) === undefined) break;
      expectProblem(await waiting, 'UNAUTHORIZED');
    };
    return { service, ended };
  }

  it('is not made over HTTP, where anybody could make it', async () => {
    const { service } = await started('60000');
    await withoutTrace(service.url, async () => {
      for (const wanted of [
        { role: 'admin', actor: people.admin },
        { role: 'agent', runs: '*', agents: '*' },
      ]) {
        const refused = await service.send('POST', '/tokens', wanted, { authorization: 'Bearer fbt_1_2' });
        expectProblem(refused, 'FORBIDDEN');
        expect(refused.body.detail).toContain('npm run token -- create --role admin');
      }
    });
    expect((await service.send('GET', '/stats')).status).toBe(200);
    expect((await service.send('GET', '/tokens')).body.items).toEqual([]);
    expectProblem(await service.send('POST', '/tokens/0123456789abcdef/revoke'), 'TOKEN_NOT_FOUND');
  });

  it('shuts everybody else out at once, however seldom the service polls', async () => {
    const { service, ended } = await started('60000');
    expect((await service.send('GET', '/bus/health')).body.access).toBe('open');
    const made = { body: await firstToken(service.url) };
    expectProblem(await service.send('GET', '/stats'), 'UNAUTHORIZED');
    expect((await service.send('GET', '/bus/health')).body.access).toBe('tokens');
    expectProblem(await service.send('POST', '/tokens', { role: 'admin', actor: people.admin }), 'UNAUTHORIZED');
    await ended();
    for (const headers of [{}, { host: 'forum.example' }, { origin: 'http://evil.example' }]) {
      const allowed = { ...bearer(made.body.token), ...headers };
      expect((await service.send('GET', '/stats', undefined, allowed)).status).toBe(200);
      expect((await service.send('GET', '/livez', undefined, headers)).status).toBe(200);
    }
    // For good: neither its end nor a new start opens the service again.
    const { token_id, token } = made.body;
    expect((await service.send('POST', `/tokens/${token_id}/revoke`, undefined, bearer(token))).status).toBe(200);
    expectProblem(await service.send('GET', '/stats'), 'UNAUTHORIZED');
    await service.restart();
    expectProblem(await service.send('GET', '/stats'), 'UNAUTHORIZED');
  });

  it('ends what is under way, also if nobody asks for anything else', async () => {
    const { service, ended } = await started('60000');
    const args = ['create', '--role', 'viewer', '--actor', 'human:vera'];
    const command = await runCommand('token', args, { DATABASE_URL: service.url });
    expect(command.code, command.output).toBe(0);
    await ended();
    expectProblem(await service.send('GET', '/stats'), 'UNAUTHORIZED');
    const [token = ''] = command.strays;
    expect((await service.send('GET', '/stats', undefined, bearer(token))).status).toBe(200);
  });
});

describe('the start of a service', () => {
  it('warns in one line while there are no tokens', async () => {
    const lines: { level: number; msg: string }[] = [];
    const log = pino({ level: 'warn' }, { write: (line: string) => void lines.push(JSON.parse(line)) });
    const service = await startApp('sqlite', { log });
    onTestFinished(() => service.close());
    expect(lines.map(({ msg }) => msg)).toEqual([expect.stringMatching(/^The service has no tokens: .*npm run token/)]);
    await firstToken(service.url);
    await service.restart();
    expect(lines).toHaveLength(1);
  });
});
