import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { NewToken } from '../../src/access/schemas.ts';
import { startApp, type TestApp } from '../helpers/app.ts';
import { ManualClock } from '../helpers/clock.ts';
import { withoutTrace } from '../helpers/database.ts';
import { engines } from '../helpers/engines.ts';
import { fresh } from '../helpers/posts.ts';
import { expectProblem } from '../helpers/problems.ts';
import { listen } from '../helpers/socket.ts';
import { openStream } from '../helpers/stream.ts';
import { bearer, people, type Tokens, withTokens } from '../helpers/tokens.ts';

const HOUR = 3_600_000;
const DAY_SECONDS = 86_400;

describe.each(engines)('the rotation of a token on %s', engine => {
  let service: TestApp;
  let tokens: Tokens;
  let clock: ManualClock;
  beforeAll(async () => {
    clock = new ManualClock();
    service = await startApp(engine, { overrides: { clock }, config: { POLL_INTERVAL_MS: '20' } });
    tokens = await withTokens(service);
  });
  afterAll(() => service.close());

  const made = (more: Partial<NewToken> = {}) =>
    tokens.issue({ role: 'operator', actor: people.operator, ...more } as NewToken);
  const rotate = async (token_id: string, body: object = {}) => {
    const answer = await tokens.admin('POST', `/tokens/${token_id}/rotate`, body);
    expect(answer.status, JSON.stringify(answer.body)).toBe(200);
    expect(answer.headers['cache-control']).toBe('no-store');
    return answer.body;
  };
  /** Whether each of these tokens lets its holder in. */
  const valid = (...texts: string[]) =>
    Promise.all(texts.map(async text => (await service.send('GET', '/me', undefined, bearer(text))).status === 200));
  const at = (ms: number) => new Date(ms).toISOString();

  it('keeps its id and rights, and the former secret until the overlap ends', async () => {
    const first = await made({ runs: 'run-1' });
    const second = await rotate(first.token_id);
    const { token: _first, ...before } = first;
    const { token, ...after } = second;
    const times = { rotated_at: at(clock.now()), overlap_ends_at: at(clock.now() + HOUR) };
    expect(after).toEqual({ ...before, ...times });
    expect(token).toMatch(new RegExp(`^fbt_${first.token_id}_[0-9a-f]{64}$`));
    expect(await valid(first.token, token)).toEqual([true, true]);
    expect((await service.send('GET', '/me', undefined, bearer(token))).body).toMatchObject({ runs: 'run-1' });
    clock.advance(HOUR - 1);
    expect(await valid(first.token, token)).toEqual([true, true]);
    clock.advance(1);
    expect(await valid(first.token, token)).toEqual([false, true]);
    const refused = await service.send('GET', '/me', undefined, bearer(first.token));
    expectProblem(refused, 'UNAUTHORIZED');
    const [listed] = (await tokens.admin('GET', '/tokens?limit=200')).body.items.filter(
      ({ token_id }: { token_id: string }) => token_id === first.token_id,
    );
    expect(listed).toMatchObject({ rotated_at: times.rotated_at, overlap_ends_at: null });
  });

  it('may be repeated when its answer was lost, and ends no secret sooner for that', async () => {
    const first = await made();
    const lost = await rotate(first.token_id, { overlap_seconds: 60 });
    clock.advance(10_000);
    const second = await rotate(first.token_id, { overlap_seconds: 60 });
    expect(await valid(first.token, lost.token, second.token)).toEqual([true, true, true]);
    clock.advance(50_000);
    expect(await valid(first.token, lost.token, second.token)).toEqual([false, true, true]);
    clock.advance(10_000);
    expect(await valid(first.token, lost.token, second.token)).toEqual([false, false, true]);
  });

  it('without an overlap ends all former secrets at once', async () => {
    const first = await made();
    const second = await rotate(first.token_id, { overlap_seconds: DAY_SECONDS });
    const third = await rotate(first.token_id, { overlap_seconds: 0 });
    expect(await valid(first.token, second.token, third.token)).toEqual([false, false, true]);
    expect(third.overlap_ends_at).toBeNull();
  });

  it('remembers five former secrets', async () => {
    const all = [await made()];
    for (let count = 0; count < 6; count += 1) all.push(await rotate(all[0]?.token_id as string));
    expect(await valid(...all.map(({ token }) => token))).toEqual([false, true, true, true, true, true, true]);
  });

  it('lets a token that expires live as long again, and its former secret no longer than before', async () => {
    const first = await made({ expires_in_seconds: 100 });
    for (let count = 0; count < 2; count += 1) {
      clock.advance(60_000);
      expect((await rotate(first.token_id)).expires_at).toBe(at(clock.now() + 100_000));
    }
    const other = await made({ expires_in_seconds: 100 });
    clock.advance(90_000);
    const last = await rotate(other.token_id);
    clock.advance(10_000);
    expect(await valid(other.token, last.token)).toEqual([false, true]);
  });

  it('is refused for a token that has ended or is not there, to others than admins, and with a key', async () => {
    const revoked = await made();
    await tokens.revoke(revoked);
    const expired = await made({ expires_in_seconds: 1 });
    clock.advance(1000);
    const own = await made();
    await withoutTrace(service.url, async () => {
      for (const { token_id } of [revoked, expired])
        expectProblem(await tokens.admin('POST', `/tokens/${token_id}/rotate`, {}), 'TOKEN_ENDED');
      expectProblem(await tokens.admin('POST', `/tokens/${'0'.repeat(16)}/rotate`, {}), 'TOKEN_NOT_FOUND');
      expectProblem(await tokens.as(own.token)('POST', `/tokens/${own.token_id}/rotate`, {}), 'FORBIDDEN');
      for (const overlap_seconds of [-1, 2_592_001, 1.5])
        expectProblem(
          await tokens.admin('POST', `/tokens/${own.token_id}/rotate`, { overlap_seconds }),
          'VALIDATION_FAILED',
        );
      const key = { 'idempotency-key': fresh() };
      expectProblem(await tokens.admin('POST', `/tokens/${own.token_id}/rotate`, {}, key), 'VALIDATION_FAILED');
    });
    expect(await valid(own.token)).toEqual([true]);
  });

  it('is an event without the secret', async () => {
    const { token_id } = await made();
    const { token, overlap_ends_at } = await rotate(token_id, { overlap_seconds: 60 });
    const { items } = (await tokens.admin('GET', '/events?order=newest&limit=1')).body;
    expect(items).toMatchObject([
      {
        event_type: 'forum.token.rotated',
        actor: people.admin,
        token_id: tokens.first.token_id,
        payload: { token_id, role: 'operator', overlap_ends_at },
      },
    ]);
    expect(JSON.stringify(items)).not.toContain(token.split('_')[2]);
  });

  it('ends streams and logins of browsers with the secret that began them', async () => {
    const origin = `http://127.0.0.1:${await listen(service.app)}`;
    const first = await made();
    const stream = await openStream(origin, '', undefined, bearer(first.token));
    const opened = await service.send('POST', '/page/session', undefined, bearer(first.token));
    const [cookie = ''] = String(opened.headers['set-cookie']).split(';');
    const loggedIn = async () => (await service.send('GET', '/me', undefined, { cookie })).status;
    const { token } = await rotate(first.token_id, { overlap_seconds: 60 });
    const later = await openStream(origin, '', undefined, bearer(token));
    expect(await loggedIn()).toBe(200);
    clock.advance(60_000);
    while (await stream.frame());
    expect(await loggedIn()).toBe(401);
    expect((await later.frame())?.retry).toBe('1000');
    expect(await valid(token)).toEqual([true]);
  });

  it('is known after a restart', async () => {
    const first = await made();
    const { token } = await rotate(first.token_id);
    await service.restart();
    expect(await valid(first.token, token)).toEqual([true, true]);
  });
});
