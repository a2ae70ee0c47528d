import { type Logger, pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ProblemCode } from '../../src/errors.ts';
import { startApp, type TestApp } from '../helpers/app.ts';
import { ManualClock } from '../helpers/clock.ts';
import { dump, withoutTrace } from '../helpers/database.ts';
import { engines } from '../helpers/engines.ts';
import { fresh } from '../helpers/posts.ts';
import { expectProblem } from '../helpers/problems.ts';
import { signal } from '../helpers/signals.ts';
import { exchange, listen } from '../helpers/socket.ts';
import { bearer, people, type Tokens, withTokens } from '../helpers/tokens.ts';

const TOKEN = /^fbt_[0-9a-f]{16}_[0-9a-f]{64}$/;
const secretOf = (token: string) => token.slice(-64);

describe.each(engines)('tokens on %s', engine => {
  const logged: string[] = [];
  const log = pino({ level: 'trace' }, { write: (line: string) => logged.push(line) }) as Logger;
  const clock = new ManualClock();
  let service: TestApp;
  let tokens: Tokens;
  beforeAll(async () => {
    service = await startApp(engine, { log, overrides: { clock } });
    tokens = await withTokens(service);
  });
  afterAll(() => service.close());

  const authorized = (authorization: string) => service.send('GET', '/stats', undefined, { authorization });

  it('have an id, a secret and what they are for, and are shown once', async () => {
    const wanted = { role: 'agent', runs: ' nightly-* ', agents: 'builder', expires_in_seconds: 60 } as const;
    const { status, headers, body } = await tokens.admin('POST', '/tokens', wanted);
    expect(status).toBe(201);
    expect(headers['cache-control']).toBe('no-store');
    const { token, ...shown } = body;
    expect(token).toMatch(TOKEN);
    expect(shown).toEqual({
      token_id: token.slice(4, 20),
      role: 'agent',
      actor: null,
      runs: 'nightly-*',
      agents: 'builder',
      validates: null,
      created_at: new Date(clock.now()).toISOString(),
      created_by: tokens.first.token_id,
      expires_at: new Date(clock.now() + 60_000).toISOString(),
      revoked_at: null,
      last_used_at: null,
      rotated_at: null,
      overlap_ends_at: null,
    });
    const { items } = (await tokens.admin('GET', '/tokens?limit=200')).body;
    expect(items.find((item: { token_id: string }) => item.token_id === shown.token_id)).toEqual(shown);
    expect(tokens.first.created_by).toBe('command');
    expect(JSON.stringify(items)).not.toContain('secret');
  });

  it('are stored as a hash alone, and logged nowhere', async () => {
    const made = [tokens.first, await tokens.issue({ role: 'agent', runs: '*', agents: '*' })];
    for (const { token, token_id } of made) {
      const headers = { ...bearer(token), 'idempotency-key': fresh(), 'x-request-id': fresh() };
      await service.send('POST', '/control-signals', signal('completion'), headers);
      await service.send('POST', '/control-signals', signal('completion', { run_id: '' }), headers);
      await service.send('GET', '/nowhere', undefined, headers);
      await service.send('GET', '/stats', undefined, bearer(`${token.slice(0, -1)}g`));
      await service.send('POST', '/tokens', {}, headers);
      expectProblem(await tokens.admin('POST', '/tokens/0000000000000000/revoke'), 'TOKEN_NOT_FOUND');
      await tokens.admin('GET', `/tokens?cursor=${token_id}`);
    }
    const everything = JSON.stringify([await dump(service.url), logged]);
    expect(logged.length).toBeGreaterThan(10);
    for (const { token, token_id } of made) {
      expect(everything.includes(token_id)).toBe(true);
      expect(everything.includes(secretOf(token))).toBe(false);
    }
    // Given in the place of its id it is not said back.
    const misplaced = await tokens.admin('POST', `/tokens/${tokens.first.token}/revoke`);
    expectProblem(misplaced, 'TOKEN_NOT_FOUND');
    expect(JSON.stringify(misplaced.body).includes(secretOf(tokens.first.token))).toBe(false);
  });

  it.each([
    ['no actor', { role: 'viewer' }, '/actor'],
    ['an agent as its actor', { role: 'operator', actor: { type: 'agent', name: 'x' } }, '/actor/type'],
    ['an actor, for an agent', { role: 'agent', runs: 'a', agents: 'b', actor: people.operator }, '/actor'],
    ['somebody to validate, for a viewer', { role: 'viewer', actor: people.viewer, validates: 'a' }, '/validates'],
    ['runs, for an admin', { role: 'admin', actor: people.operator, runs: 'a' }, '/runs'],
    ['ends of runs, for a viewer', { role: 'viewer', actor: people.viewer, runs: '*-nightly' }, '/runs'],
    ['several parts of runs, for an operator', { role: 'operator', actor: people.operator, runs: 'a*b*' }, '/runs'],
    ['agents, for an operator', { role: 'operator', actor: people.operator, runs: 'a', agents: 'b' }, '/agents'],
    ['neither runs nor agents', { role: 'agent' }, '/runs', '/agents'],
    ['blank runs', { role: 'agent', runs: ' ', agents: 'b' }, '/runs'],
    ['a role that is none', { role: 'boss', actor: people.operator }, '/role'],
    ['an end in the past', { role: 'viewer', actor: people.viewer, expires_in_seconds: 0 }, '/expires_in_seconds'],
    ['a secret of its own', { role: 'viewer', actor: people.viewer, token: 'fbt_1_2' }, '/token'],
  ])('are not made with %s', async (_, wanted, ...pointers) => {
    const answer = await withoutTrace(service.url, () => tokens.admin('POST', '/tokens', wanted));
    expectProblem(answer, 'VALIDATION_FAILED');
    expect(answer.body.errors.map((error: { pointer: string }) => error.pointer)).toEqual(pointers);
  });

  it('take no idempotency key when they are made, and one when they are revoked', async () => {
    const key = { 'idempotency-key': fresh() };
    const wanted = { role: 'viewer', actor: people.viewer };
    const answer = await withoutTrace(service.url, () => tokens.admin('POST', '/tokens', wanted, key));
    expectProblem(answer, 'VALIDATION_FAILED');
    expect(answer.body.errors).toMatchObject([{ in: 'headers', pointer: '/idempotency-key' }]);

    const { token_id } = await tokens.issue({ role: 'viewer', actor: people.viewer });
    const revoke = (headers = {}) => tokens.admin('POST', `/tokens/${token_id}/revoke`, undefined, headers);
    const first = await revoke(key);
    expect(first.body).toMatchObject({ token_id, revoked_at: new Date(clock.now()).toISOString() });
    clock.advance(1000);
    const again = await revoke(key);
    expect(again.body).toEqual(first.body);
    expect(again.headers['idempotency-replayed']).toBe('true');
    expect((await revoke()).body).toEqual(first.body);
  });

  it('are listed page by page, the oldest first, those of one moment too', async () => {
    for (let count = 0; count < 3; count += 1) await tokens.issue({ role: 'viewer', actor: people.viewer });
    const all = (await tokens.admin('GET', '/tokens?limit=200')).body.items;
    expect(all.length).toBeGreaterThan(4);
    const walked: unknown[] = [];
    for (let cursor = ''; ; ) {
      const { body } = await tokens.admin('GET', `/tokens?limit=2${cursor}`);
      walked.push(...body.items);
      if (body.next_cursor === null) break;
      cursor = `&cursor=${body.next_cursor}`;
    }
    expect(walked).toEqual(all);
    const ages = all.map((token: { created_at: string }) => token.created_at);
    expect(ages).toEqual([...ages].sort());
    for (const cursor of ['x', 'WyJldmVudHMiLDZd']) {
      expectProblem(await tokens.admin('GET', `/tokens?cursor=${cursor}`), 'INVALID_CURSOR');
    }
  });

  it('end with their time', async () => {
    const { token } = await tokens.issue({ role: 'viewer', actor: people.viewer, expires_in_seconds: 60 });
    clock.advance(59_999);
    expect((await authorized(`Bearer ${token}`)).status).toBe(200);
    clock.advance(1);
    const answer = await authorized(`Bearer ${token}`);
    expectProblem(answer, 'UNAUTHORIZED');
    expect(answer.body.detail).toMatch(/expired/);
  });

  it('end when they are revoked, and only the one that is', async () => {
    const [one, other] = [await tokens.issue({ role: 'viewer', actor: people.viewer }), tokens.first];
    expect((await authorized(`Bearer ${one.token}`)).status).toBe(200);
    await tokens.revoke(one);
    const answer = await authorized(`Bearer ${one.token}`);
    expectProblem(answer, 'UNAUTHORIZED');
    expect(answer.body.detail).toMatch(/revoked/);
    expect((await authorized(`Bearer ${other.token}`)).status).toBe(200);
  });

  it('are let in with the scheme in any case, and blanks around', async () => {
    const { token } = tokens.first;
    for (const header of [`bearer ${token}`, `BEARER ${token}`, `Bearer   ${token}`, `Bearer ${token}  `]) {
      expect((await authorized(header)).status, header).toBe(200);
    }
  });

  it('are not let in malformed, of another scheme, or with a secret that is wrong; which it is, only they learn who know it', async () => {
    const { token, token_id } = tokens.first;
    const ended = await tokens.issue({ role: 'viewer', actor: people.viewer });
    await tokens.revoke(ended);
    const details = new Set<string>();
    const wrong = (id: string) => `Bearer fbt_${id}_${'0'.repeat(64)}`;
    for (const header of [wrong(token_id), wrong(ended.token_id), wrong('0'.repeat(16))]) {
      const answer = await authorized(header);
      expectProblem(answer, 'UNAUTHORIZED');
      details.add(answer.body.detail);
    }
    expect(details.size).toBe(1);
    for (const header of [
      '',
      'Bearer',
      'Bearer ',
      token,
      `Basic ${token}`,
      `Bearer${token}`,
      `Bearer ${token}x`,
      `Bearer ${token.toUpperCase()}`,
      `Bearer ${token.slice(0, -1)}`,
      `Bearer ${token},`,
      `Bearer "${token}"`,
      `Bearer ${token} ${token}`,
      `Bearer ${wrong(token_id)}, Bearer ${token}`,
      `Bearer ${token_id}`,
      `Bearer ${Buffer.from(token).toString('base64')}`,
      `Bearer fbt_${token_id}_`,
      `Bearer fbt_${token_id}_%`,
      `Bearer fbt_${token_id.slice(0, 15)}%_${secretOf(token)}`,
      `Bearer ${' '.repeat(8000)}`,
    ]) {
      const answer = await authorized(header);
      expectProblem(answer, 'UNAUTHORIZED');
      expect(answer.headers['www-authenticate']).toBe('Bearer realm="forumbus"');
    }
  });

  it('are sent in one header: of several the first one counts, and nowhere else', async () => {
    const port = await listen(service.app);
    const { token } = tokens.first;
    const get = async (path: string, ...lines: string[]) => {
      const head = [`GET ${path} HTTP/1.1`, 'Host: forum.example', 'Connection: close', ...lines];
      return (await exchange(port, `${head.join('\r\n')}\r\n\r\n`)).status;
    };
    const [good, bad] = [`Authorization: Bearer ${token}`, 'Authorization: Bearer nothing'];
    expect(await get('/stats', good)).toBe(200);
    expect(await get('/stats', good, bad)).toBe(200);
    expect(await get('/stats', bad, good)).toBe(401);
    expect(await get('/stats', `Cookie: token=${token}`, `X-Api-Key: ${token}`)).toBe(401);
    expect(await get(`/stats?access_token=${token}`)).toBe(401);
  });

  it.each<[string, string, ProblemCode | undefined]>([
    ['nightly-*', 'nightly-7', undefined],
    ['nightly-*', 'nightly-', undefined],
    ['nightly-*', 'Nightly-7', 'FORBIDDEN'],
    ['nightly-*', 'x-nightly-7', 'FORBIDDEN'],
    ['*', 'anything at all', undefined],
    ['*-7', 'nightly-7', undefined],
    ['*-7', 'nightly-77', 'FORBIDDEN'],
    ['a.c', 'abc', 'FORBIDDEN'],
    ['a%', 'ab', 'FORBIDDEN'],
    ['a_', 'ab', 'FORBIDDEN'],
  ])('of an agent for %s are for the name %s, or not', async (pattern, name, code) => {
    for (const [runs, agents, names] of [
      [pattern, 'builder', { run_id: name }],
      ['run-1', pattern, { agent_name: name }],
    ] as const) {
      const agent = await tokens.asAgent(runs, agents);
      const answer = await agent('POST', '/control-signals', signal('completion', names));
      if (code) expectProblem(answer, code);
      else expect(answer.status, JSON.stringify(answer.body)).toBe(201);
    }
  });
});
