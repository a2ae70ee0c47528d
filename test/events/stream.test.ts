import { once } from 'node:events';
import { request } from 'node:http';
import { EventSource } from 'eventsource';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { engines } from '../helpers/engines.ts';
import { Counter } from '../helpers/handling.ts';
import { expectProblem } from '../helpers/problems.ts';
import { send } from '../helpers/process.ts';
import { signal, textOfSize } from '../helpers/signals.ts';
import { listen } from '../helpers/socket.ts';
import { openStream } from '../helpers/stream.ts';

/** No poll of the log comes to the help of a service that was not told of a commit. */
const config = { POLL_INTERVAL_MS: '60000' };

describe.each(engines)('the event stream on %s', engine => {
  let service: TestApp;
  let origin: string;
  beforeEach(async () => {
    service = await startApp(engine, { config });
    origin = `http://127.0.0.1:${await listen(service.app)}`;
    return () => service.close();
  });

  const post = async (fields: object = {}) => {
    const { status, body } = await service.send('POST', '/control-signals', signal('completion', fields));
    expect(status).toBe(201);
    return body.signal.sequence as number;
  };
  const logged = async (query = '') => (await service.send('GET', `/events?limit=200&${query}`)).body.items;

  it('has one frame for each event, from the first one on, and says when to come back', async () => {
    for (const summary of ['one', 'two\nlines\r\n\r\nand: a colon', 'three: ü 漢 😀 \u2028']) await post({ summary });
    const stream = await openStream(origin);
    expect(stream.response.statusCode).toBe(200);
    expect(stream.response.headers['content-type']).toBe('text/event-stream; charset=utf-8');
    expect(stream.response.headers['cache-control']).toBe('no-cache, no-transform');
    expect(stream.response.headers['x-accel-buffering']).toBe('no');
    expect(await stream.frame()).toEqual({ retry: expect.stringMatching(/^\d+$/) });
    const events = await logged();
    expect(events.length).toBeGreaterThan(3);
    for (const event of events) {
      const frame = await stream.frame();
      expect({ ...frame, data: JSON.parse(frame?.data ?? '') }).toEqual({
        id: String(event.sequence),
        event: event.event_type,
        data: event,
      });
    }
  });

  it('begins after ?after=, or after Last-Event-ID, which counts more', async () => {
    const [first, second, third] = [await post(), await post(), await post()];
    expect(await (await openStream(origin, `?after=${first}`)).sequences(2)).toEqual([second, third]);
    expect(await (await openStream(origin, '', String(second))).sequences(1)).toEqual([third]);
    expect(await (await openStream(origin, '?after=0', String(second))).sequences(1)).toEqual([third]);
    expect(await (await openStream(origin, `?after=${third}`, String(first))).sequences(2)).toEqual([second, third]);
    // An EventSource that has seen no id yet sends none or an empty one.
    expect(await (await openStream(origin, `?after=${second}`, '')).sequences(1)).toEqual([third]);
  });

  it('that begins after a sequence of the future says nothing of what comes before it', async () => {
    const sequence = await post();
    const stream = await openStream(origin, `?after=${sequence + 2}`);
    await stream.frame();
    for (let made = sequence; made < sequence + 3; ) made = await post();
    expect((await stream.event()).sequence).toBeGreaterThan(sequence + 2);
  });

  it('refuses a Last-Event-ID that is no sequence', async () => {
    for (const id of ['x', '-1', '1.5', '1e3', '0x1', '1 2', '9'.repeat(16)]) {
      const { response } = await openStream(origin, '', id);
      const chunks = await response.setEncoding('utf8').toArray();
      const { statusCode: status = 0, headers } = response;
      const body = JSON.parse(chunks.join(''));
      expectProblem({ status, headers, body }, 'VALIDATION_FAILED');
      expect(body.errors).toMatchObject([{ in: 'headers', pointer: '/last-event-id' }]);
    }
  });

  it('refuses a query that it does not know or that does not fit', async () => {
    for (const query of ['limit=1', 'cursor=x', 'wait=1', 'after=-1', 'after=x', 'after=1.5', 'run_id=', 'x=1']) {
      expectProblem(await send(origin, 'GET', `/events/stream?${query}`), 'VALIDATION_FAILED');
    }
  });

  it.each(['POST', 'HEAD'])('does not hang at %s, and opens no stream for it', async method => {
    const [response] = await once(request(`${origin}/events/stream`, { method, agent: false }).end(), 'response');
    await response.resume().toArray();
    expect([404, 405]).toContain(response.statusCode);
  });

  it('can be narrowed down as GET /events can, both to what was there and to what comes', async () => {
    const mix = async () => {
      for (const run_id of ['run-1', 'run-2']) {
        for (const agent_name of ['builder', 'tester']) {
          for (const type of ['completion', 'guidance_request']) {
            await service.send('POST', '/control-signals', signal(type, { run_id, agent_name }));
          }
        }
      }
    };
    await mix();
    const [{ thread_id }] = await logged('run_id=run-2&agent_name=tester');
    const filters = [
      'run_id=run-1',
      `thread_id=${thread_id}`,
      'agent_name=tester',
      'event_type=forum.question.opened',
      'run_id=run-2&agent_name=builder&event_type=forum.control.signal',
    ];
    const streams = await Promise.all(filters.map(filter => openStream(origin, `?${filter}`)));
    // Narrowed down to nothing: it may only hear of the last one.
    const last = await openStream(origin, '?run_id=last');
    for (const [index, filter] of filters.entries()) {
      const before: { sequence: number }[] = await logged(filter);
      expect(before.length).toBeGreaterThan(0);
      expect(await streams[index]?.sequences(before.length)).toEqual(before.map(event => event.sequence));
    }
    const from = (await logged()).at(-1).sequence;
    await mix();
    await post({ run_id: 'last' });
    for (const [index, filter] of filters.entries()) {
      const live: unknown[] = await logged(`after=${from}&${filter}`);
      const events = [];
      for (const _ of live) events.push(await streams[index]?.event());
      expect(events).toEqual(live);
    }
    expect(await last.event()).toMatchObject({ run_id: 'last' });
  });

  it('brings an event as soon as it is committed', async () => {
    const streams = await Promise.all([openStream(origin), openStream(origin, '?agent_name=builder')]);
    for (let round = 0; round < 20; round++) {
      const started = performance.now();
      const sequence = await post();
      for (const stream of streams) while ((await stream.event()).sequence < sequence);
      expect(performance.now() - started).toBeLessThan(5000);
    }
  });

  it('brings what is committed while it is opened, without waiting for a poll', async () => {
    for (let round = 0; round < 30; round++) {
      const from = await post();
      const [stream, sequence] = await Promise.all([openStream(origin, `?after=${from}`), post()]);
      expect(await stream.sequences(1)).toEqual([sequence]);
      stream.leave();
    }
  });

  it('leaves nothing behind when its readers go away', async () => {
    const timers = () => process.getActiveResourcesInfo().filter(name => name === 'Timeout').length;
    const connections = () => new Promise(resolve => service.app.server.getConnections((_, count) => resolve(count)));
    await post();
    const before = timers();
    const streams = await Promise.all(Array.from({ length: 100 }, () => openStream(origin)));
    await Promise.all(streams.map(stream => stream.event()));
    expect(await connections()).toBe(100);
    expect(timers()).toBeGreaterThan(before + 90);
    for (const stream of streams) stream.leave();
    await expect.poll(connections).toBe(0);
    // The polling itself has one or two.
    await expect.poll(timers).toBeLessThan(before + 10);
    const stream = await openStream(origin);
    const sequence = await post();
    while ((await stream.event()).sequence < sequence);
  });

  it('ends whole, and at once, when the service closes', async () => {
    for (let count = 0; count < 20; count++) await post(textOfSize(50_000));
    const all = await logged();
    // One has read everything and waits; one is in the middle; one has not been asked for anything.
    const [waiting, reading, fresh] = await Promise.all([openStream(origin), openStream(origin), openStream(origin)]);
    await waiting.sequences(all.length);
    await reading.sequences(5);
    const started = performance.now();
    const closed = service.app.close();
    for (const stream of [waiting, reading, fresh]) {
      const ids: number[] = [];
      for (let frame = await stream.frame(); frame; frame = await stream.frame()) {
        if (frame.data !== undefined) ids.push(JSON.parse(frame.data).sequence);
      }
      expect(stream.response.complete).toBe(true);
      expect(ids).toEqual(ids.toSorted((a, b) => a - b));
    }
    await closed;
    expect(performance.now() - started).toBeLessThan(2000);
  });

  it('is resumed by the stock EventSource across restarts, without loss or repetition', async () => {
    const { port } = new URL(origin);
    const seen = new Counter<number>();
    const source = new EventSource(`${origin}/events/stream`);
    onTestFinished(() => source.close());
    for (const type of ['forum.thread.opened', 'forum.control.signal']) {
      source.addEventListener(type, message => {
        const event = JSON.parse(message.data);
        expect(message.lastEventId).toBe(String(event.sequence));
        seen.add(event.sequence);
      });
    }
    for (let round = 1; round <= 3; round++) {
      await post();
      await seen.reach((await logged()).length);
      const closing = service.app.close();
      // Let go by the old process; what is committed now it can only learn from the next one.
      await closing;
      await service.restart();
      await post();
      await post();
      await service.app.listen({ port: Number(port), host: '127.0.0.1' });
      await seen.reach((await logged()).length);
    }
    await post();
    const all = await logged();
    await seen.reach(all.length);
    expect(seen.seen).toEqual(all.map((event: { sequence: number }) => event.sequence));
  });
});
