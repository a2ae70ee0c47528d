import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { scratchDatabase } from '../helpers/engines.ts';
import { allItems } from '../helpers/pages.ts';
import { forThisTest, type ServiceProcess, send, startService } from '../helpers/process.ts';
import { signal } from '../helpers/signals.ts';
import { exchange } from '../helpers/socket.ts';
import { openStream } from '../helpers/stream.ts';
import { firstToken } from '../helpers/tokens.ts';

/** Until when a request must have arrived, with some room for a busy machine. */
const SLOW_MS = 15_000;
const BUSY_MS = 5000;
/** How long others may wait for an answer meanwhile. Milliseconds. */
const PROMPT_MS = 3000;
const IDLE = 300;

const HEAD = 'POST /control-signals HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n';
const LIVEZ = 'GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n';

async function started(): Promise<{ service: ServiceProcess; port: number; url: string }> {
  const { url: DATABASE_URL } = await forThisTest(scratchDatabase('sqlite'));
  const service = await startService({ DATABASE_URL });
  return { service, port: Number(new URL(await service.listening()).port), url: DATABASE_URL };
}

/** A connection that says this and then a character every quarter of a second: what came back, and after how long. */
async function dripping(port: number, beginning: string): Promise<{ text: string; took: number }> {
  const begun = performance.now();
  const socket = connect(port, '127.0.0.1').on('error', () => {});
  let text = '';
  socket.setEncoding('utf8').on('data', chunk => {
    text += chunk;
  });
  socket.write(beginning);
  const drip = setInterval(() => socket.writable && socket.write('x'), 250);
  await once(socket, 'close');
  clearInterval(drip);
  return { text, took: performance.now() - begun };
}

function opened(port: number, bytes: string): Socket {
  const socket = connect(port, '127.0.0.1').on('error', () => {});
  onTestFinished(() => void socket.destroy());
  if (bytes !== '') socket.write(bytes);
  return socket.resume();
}

/** The statuses and the request ids of answers that came over one connection. */
function answersOf(text: string): { status: number; id: string }[] {
  const statuses = [...text.matchAll(/HTTP\/1\.1 (\d+)/g)].map(match => Number(match[1]));
  const ids = [...text.matchAll(/^x-request-id: (.*?)\r$/gim)].map(match => match[1] as string);
  return statuses.map((status, index) => ({ status, id: ids[index] as string }));
}

describe('clients that send slowly, too much, nonsense or nothing', () => {
  it('are dropped within 15 seconds, and others are served meanwhile; who waits or streams is not dropped', async () => {
    const { service, port } = await started();
    const origin = await service.listening();
    await service.send('POST', '/control-signals', signal('completion', { run_id: 'run-w' }));
    const stream = await openStream(origin, '?after=1000000');
    const begun = performance.now();
    const waiting = send(origin, 'GET', '/runs/run-w?wait=16');

    const slow = {
      'in its head': dripping(port, `${HEAD}X-Slow: `),
      'in its body': dripping(port, `${HEAD}Content-Length: 1000\r\n\r\n{"a":"`),
      'in a chunk of its body': dripping(port, `${HEAD}Transfer-Encoding: chunked\r\n\r\n3e8\r\n{"a":"`),
      'in its second request': dripping(port, `${LIVEZ}GET /livez HTTP/1.1\r\nX-Slow: `),
    };
    const silent = opened(port, '');
    const silence = once(silent, 'close').then(() => performance.now() - begun);
    const half = Array.from({ length: 20 }, () => opened(port, `${HEAD}Content-Length: 1000\r\n\r\n{`));
    const halfClosed = half.map(socket => once(socket.end(), 'close'));
    for (let count = 0; count < IDLE; count += 1) opened(port, LIVEZ);

    let attacking = true;
    const attack = async () => {
      const nonsense = [
        'hello\r\n\r\n',
        `GET /${'x'.repeat(30_000)} HTTP/1.1\r\n\r\n`,
        `${LIVEZ.repeat(50)}\r\nhello\r\n\r\n`,
      ];
      for (let round = 0; attacking; round += 1) {
        await exchange(port, nonsense[round % nonsense.length] as string);
        const large = `${HEAD}Content-Length: 5000000\r\nConnection: close\r\n\r\n${'x'.repeat(100_000)}`;
        await exchange(port, large);
        await delay(20);
      }
    };
    const attackers = [attack(), attack()];

    let longest = 0;
    let signals = 0;
    let over = false;
    const client = async () => {
      while (!over) {
        const sent = performance.now();
        const { status, body } = await send(origin, 'POST', '/control-signals', signal('completion'));
        expect(status, body.detail).toBe(201);
        longest = Math.max(longest, performance.now() - sent);
        signals += 1;
        await delay(100);
      }
    };
    const served = client();
    const ended = await Promise.all(Object.entries(slow).map(async ([name, answer]) => ({ name, ...(await answer) })));
    for (const { name, text, took } of ended) {
      expect(answersOf(text).at(-1)?.status, name).toBe(408);
      expect(JSON.parse(text.slice(text.lastIndexOf('\r\n\r\n'))), name).toMatchObject({ code: 'REQUEST_TIMEOUT' });
      expect(took, name).toBeLessThan(SLOW_MS + BUSY_MS);
    }
    expect(await silence).toBeLessThan(SLOW_MS + BUSY_MS);
    await Promise.all(halfClosed);
    expect((await waiting).status).toBe(200);
    expect(performance.now() - begun).toBeGreaterThanOrEqual(16_000);
    over = true;
    attacking = false;
    await Promise.all([served, ...attackers]);
    expect(signals).toBeGreaterThan(20);
    expect(longest).toBeLessThan(PROMPT_MS);
    expect(stream.response.destroyed).toBe(false);
    stream.leave();
    expect(service.logs.filter(({ level }) => level >= 50)).toEqual([]);
  });
});

describe('requests that are pipelined', () => {
  it('are answered in their order, however long each takes', async () => {
    const { port } = await started();
    const body = JSON.stringify(signal('completion'));
    const post = `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
    const requests = Array.from({ length: 100 }, (_, index) => {
      const head = `HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: r${index}\r\n`;
      return [`POST /control-signals ${head}${post}`, `GET /livez ${head}\r\n`, `GET /nowhere ${head}\r\n`][index % 3];
    });
    const last = 'GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: r100\r\nConnection: close\r\n\r\n';
    const socket = connect(port, '127.0.0.1').setEncoding('utf8');
    let text = '';
    socket.on('data', chunk => {
      text += chunk;
    });
    socket.write(requests.join('') + last);
    await once(socket, 'close');
    expect(answersOf(text)).toEqual(
      Array.from({ length: 101 }, (_, index) => ({
        id: `r${index}`,
        status: index === 100 ? 200 : [201, 200, 404][index % 3],
      })),
    );
  });
});

describe('far more signals than the service can take', () => {
  const CONNECTIONS = 24;
  const EACH = 250;

  it('are stored or refused with 503, and probes are answered meanwhile', async () => {
    const { service, port } = await started();
    const origin = `http://127.0.0.1:${port}`;
    const sent = Array.from({ length: CONNECTIONS }, async (_, run) => {
      const socket = connect(port, '127.0.0.1').setEncoding('utf8');
      let text = '';
      socket.on('data', chunk => {
        text += chunk;
      });
      const requests = Array.from({ length: EACH }, (_, agent) => {
        const body = JSON.stringify(signal('completion', { run_id: `run-${run}`, agent_name: `agent-${agent}` }));
        const close = agent === EACH - 1 ? 'Connection: close\r\n' : '';
        return `${HEAD}X-Request-Id: ${run}-${agent}\r\n${close}Content-Length: ${body.length}\r\n\r\n${body}`;
      });
      socket.write(requests.join(''));
      await once(socket, 'close');
      return text;
    });
    const over = Promise.all(sent);
    let slowest = 0;
    let probes = 0;
    for (let going = true; going; ) {
      going = !(await Promise.race([over.then(() => true), delay(20, false)]));
      const asked = performance.now();
      const { status, body } = await send(origin, 'GET', '/bus/health');
      slowest = Math.max(slowest, performance.now() - asked);
      probes += 1;
      expect({ status, health: body.status }).toEqual({ status: 200, health: 'ok' });
    }
    const answers = (await over).flatMap(answersOf);
    const refused = (await over).join('').split('HTTP/1.1 503').slice(1);
    process.stdout.write(
      `hostile: ${answers.length} signals, ${refused.length} refused, ${probes} probes, the slowest ${Math.round(slowest)} ms\n`,
    );
    expect(answers).toHaveLength(CONNECTIONS * EACH);
    expect(answers.filter(({ status }) => status !== 201 && status !== 503)).toEqual([]);
    expect(refused.length).toBeGreaterThan(0);
    for (const answer of refused) expect(answer).toMatch(/^retry-after: \d+\r$/im);
    expect(slowest).toBeLessThan(2 * PROMPT_MS);

    const accepted = answers.filter(({ status }) => status === 201).map(({ id }) => id);
    const stored = await allItems(path => send(origin, 'GET', path), '/events?event_type=forum.control.signal');
    expect(stored.map(event => `${event.run_id?.slice(4)}-${event.agent_name?.slice(6)}`).sort()).toEqual(
      accepted.sort(),
    );
    const again = await service.send('POST', '/control-signals', signal('completion'));
    expect(again.status).toBe(201);
  });
});

describe('requests without a valid token', () => {
  it('cost few and short log lines, and the sum of the others', async () => {
    const { service, port, url } = await started();
    const origin = `http://127.0.0.1:${port}`;
    const { token } = await firstToken(url);
    await send(origin, 'GET', '/stats', undefined, { authorization: `Bearer ${token}` });
    const before = service.logs.length;
    const long = 'x'.repeat(7000);
    const flood = [
      `GET /threads?q=${long} HTTP/1.1\r\nHost: ${long}\r\nAuthorization: Bearer ${long.slice(8000)}\r\n\r\n`,
      `GET /${long} HTTP/1.1\r\nHost: localhost\r\n\r\n`,
      `GET /livez?${long} HTTP/1.1\r\nHost: localhost\r\n\r\n`,
      `GET /%zz${long} HTTP/1.1\r\nHost: localhost\r\n\r\n`,
    ];
    const socket = opened(port, '');
    socket.resume();
    for (let round = 0; round < 100; round += 1) socket.write(flood.join(''));
    socket.end('hello\r\n\r\n');
    await once(socket, 'close');
    const sum = await service.line('more requests refused');
    expect(sum.count).toBeGreaterThan(0);
    const lines = service.logs.slice(before);
    for (const line of lines) expect(JSON.stringify(line).length).toBeLessThan(1500);
    const refusals = lines.filter(({ msg }) => msg === 'request refused').length;
    const sums = () => service.logs.filter(({ msg }) => msg === 'more requests refused');
    expect(refusals).toBeLessThan(200);
    await vi.waitFor(() => {
      const counted = sums().reduce((total, { count }) => total + Number(count), 0);
      const logged = service.logs.slice(before).filter(({ msg }) => msg === 'request refused').length;
      // The last ones may be cut off by the answer to what is no request.
      expect(counted + logged).toBeGreaterThan(350);
      expect(counted + logged).toBeLessThanOrEqual(401);
    });
    // Those of a caller with a token are all there.
    const authorization = `Bearer ${token}`;
    for (let count = 0; count < 40; count += 1) {
      await send(origin, 'GET', '/threads/nowhere', undefined, { authorization, 'x-request-id': `own-${count}` });
    }
    await vi.waitFor(() => {
      const own = service.logs.filter(line => String(line.request_id).startsWith('own-'));
      expect(own.filter(({ msg }) => msg === 'request refused')).toHaveLength(40);
    });
  });
});

describe('a process that can open no more files', () => {
  it('refuses connections, and serves again when some are closed', async ctx => {
    const { DATABASE_URL } = await forThisTest(scratchDatabase('sqlite')).then(({ url }) => ({ DATABASE_URL: url }));
    const service = await startService({ DATABASE_URL, MAX_EVENT_LOOP_DELAY_MS: '60000' });
    const origin = await service.listening();
    const port = Number(new URL(origin).port);
    try {
      execFileSync('prlimit', ['--pid', String(service.pid), '--nofile=80:80']);
    } catch (error) {
      ctx.skip(`needs \`prlimit\` (util-linux): ${error}`);
    }
    const sockets = Array.from({ length: 150 }, () => opened(port, LIVEZ));
    // Longer than the intervals of everything that looks at the process.
    await delay(2500);
    for (const socket of sockets) socket.destroy();
    const sent = await vi.waitFor(() => send(origin, 'POST', '/control-signals', signal('completion')), 5000);
    expect(sent.status).toBe(201);
    expect((await fetch(`${origin}/metrics`)).status).toBe(200);
    expect(service.logs.filter(({ level }) => level >= 50)).toEqual([]);
  });
});
