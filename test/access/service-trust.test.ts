import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { ManualClock } from '../helpers/clock.ts';
import { commands } from '../helpers/commands.ts';
import { engines } from '../helpers/engines.ts';
import { fresh } from '../helpers/posts.ts';
import { expectProblem } from '../helpers/problems.ts';
import { signal } from '../helpers/signals.ts';
import { bearer, people, type Tokens, withTokens } from '../helpers/tokens.ts';

interface LoggedEvent {
  event_type: string;
  actor: object;
  run_id: string | null;
  token_id: string | null;
  payload: Record<string, unknown>;
}

describe.each(engines)('what a token does on %s', engine => {
  const clock = new ManualClock();
  const lines: Record<string, unknown>[] = [];
  const log = pino({ level: 'info' }, { write: (line: string) => void lines.push(JSON.parse(line)) });
  let service: TestApp;
  let tokens: Tokens;
  beforeAll(async () => {
    service = await startApp(engine, { log, overrides: { clock } });
    tokens = await withTokens(service);
  });
  afterAll(() => service.close());

  const eventsOf = async (act: () => Promise<unknown>): Promise<LoggedEvent[]> => {
    let after = 0;
    const page = async () => (await tokens.admin('GET', `/events?limit=200&after=${after}`)).body.items;
    for (let items = await page(); items.length > 0; items = await page()) after = items.at(-1).sequence;
    await act();
    return page();
  };

  it('stands in every event that it causes, also by a message', async () => {
    const { token, token_id } = await tokens.issue({ role: 'agent', runs: 'run-1', agents: 'builder' });
    const asked = await eventsOf(() => tokens.as(token)('POST', '/control-signals', signal('guidance_request')));
    expect(asked.length).toBeGreaterThan(2);
    for (const event of asked) expect(event.token_id).toBe(token_id);

    const bus = commands(tokens.admin);
    const byMessage = await eventsOf(async () => {
      await bus.publish('control_signal', signal('completion'));
      // Somebody else lets it be handled.
      const operator = await tokens.asPerson('operator');
      while ((await operator('POST', '/bus/process', { limit: 200 })).body.claimed > 0);
    });
    const signals = byMessage.filter(({ event_type }) => event_type === 'forum.control.signal');
    expect(signals.map(event => event.token_id)).toEqual([tokens.first.token_id]);
  });

  it('is not in events of the service itself', async () => {
    const asked = signal('guidance_request', { expires_in_seconds: 60, agent_name: fresh() });
    await tokens.admin('POST', '/control-signals', asked);
    clock.advance(61_000);
    const worker = await startApp(engine, {
      database: { url: service.url, drop: async () => {} },
      config: { ROLE: 'all', POLL_INTERVAL_MS: '20' },
      overrides: { clock },
    }).catch(() => undefined);
    if (!worker) return expect(engine).toBe('sqlite');
    onTestFinished(() => worker.close());
    const expired = async () =>
      (await tokens.admin('GET', '/events?event_type=forum.question.expired')).body.items as LoggedEvent[];
    await expect.poll(expired).toHaveLength(1);
    expect((await expired())[0]?.token_id).toBeNull();
  });

  it('stands in every line of its requests, and in none of others', async () => {
    const { token, token_id } = await tokens.issue({ role: 'viewer', actor: people.viewer });
    const linesOf = async (url: string, headers: Record<string, string> = {}) => {
      const request_id = fresh();
      await service.send('GET', url, undefined, { ...headers, 'x-request-id': request_id });
      const own = lines.filter(line => line.request_id === request_id);
      expect(own.map(({ msg }) => msg)).toEqual(expect.arrayContaining(['incoming request', 'request completed']));
      return own;
    };
    for (const url of ['/stats', '/tokens', '/runs/none', '/stats?color=red']) {
      for (const line of await linesOf(url, bearer(token))) expect(line.token_id, url).toBe(token_id);
      for (const line of await linesOf(url, bearer(`${token.slice(0, -1)}x`)))
        expect(line).not.toHaveProperty('token_id');
      for (const line of await linesOf(url)) expect(line).not.toHaveProperty('token_id');
    }
    const [refused] = await linesOf(`/${'x'.repeat(20_000)}`, bearer(token));
    expect(refused).toBeDefined();
  });

  it('begins and ends with events, which hold no secret and which no agent sees', async () => {
    let made = { token: '', token_id: '' };
    const wanted = { role: 'agent', runs: 'run-1', agents: '*', validates: 'x' } as const;
    const events = await eventsOf(async () => {
      made = await tokens.issue(wanted);
      await tokens.revoke(made);
      await tokens.revoke(made);
    });
    const common = { actor: people.admin, run_id: null, token_id: tokens.first.token_id };
    const payload = { token_id: made.token_id, ...wanted, actor: null, expires_at: null };
    expect(events).toMatchObject([
      { event_type: 'forum.token.created', ...common, payload },
      { event_type: 'forum.token.revoked', ...common, payload },
    ]);
    expect(JSON.stringify(events)).not.toContain(made.token.slice(-64));

    const agent = await tokens.asAgent('*', '*');
    expectProblem(await agent('GET', '/events'), 'FORBIDDEN');
    for (const run of ['run-1', 'null', '%00'].slice(0, 2)) {
      const { items } = (await agent('GET', `/events?run_id=${run}&limit=200`)).body;
      expect(items.filter(({ event_type }: LoggedEvent) => event_type.startsWith('forum.token.'))).toEqual([]);
    }
    const viewer = await tokens.asPerson('viewer');
    expect((await viewer('GET', '/events?event_type=forum.token.created')).body.items.length).toBeGreaterThan(0);
  });

  it('shows when it was last used, to the minute, and a wrong secret does not count', async () => {
    const { token, token_id } = await tokens.issue({ role: 'viewer', actor: people.viewer });
    const used = async () => {
      const { items } = (await tokens.admin('GET', '/tokens?limit=200')).body;
      return items.find((item: { token_id: string }) => item.token_id === token_id).last_used_at;
    };
    const use = (text = token) => service.send('GET', '/stats', undefined, bearer(text));
    await use(`fbt_${token_id}_${'0'.repeat(64)}`);
    expect(await used()).toBeNull();
    const first = new Date(clock.now()).toISOString();
    await use();
    await expect.poll(used).toBe(first);
    clock.advance(59_000);
    await use();
    clock.advance(2000);
    const later = new Date(clock.now()).toISOString();
    await use();
    await expect.poll(used).toBe(later);
  });
});
