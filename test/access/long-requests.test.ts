import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { ManualClock } from '../helpers/clock.ts';
import { engines, type Scratch, scratchDatabase } from '../helpers/engines.ts';
import { expectProblem } from '../helpers/problems.ts';
import { forThisTest } from '../helpers/process.ts';
import { signal } from '../helpers/signals.ts';
import { listen } from '../helpers/socket.ts';
import { openStream } from '../helpers/stream.ts';
import { bearer, people, type Tokens, withTokens } from '../helpers/tokens.ts';
import { SOON_MS, settled, timed } from '../helpers/waits.ts';

/** So rarely that whatever happens sooner has another reason. */
const SELDOM = { POLL_INTERVAL_MS: '60000' };
const OFTEN = { POLL_INTERVAL_MS: '50' };

async function started(...args: Parameters<typeof startApp>): Promise<TestApp> {
  const service = await startApp(...args);
  onTestFinished(() => service.close());
  return service;
}

/** Everything that one token has under way for long; `over` resolves when all of it has ended as it should. */
async function underWay(service: TestApp, admin: TestApp['send'], token: string) {
  const asked = await admin('POST', '/control-signals', signal('guidance_request'));
  const { question_id } = asked.body.question;
  const origin = `http://127.0.0.1:${await listen(service.app)}`;
  const stream = await openStream(origin, '?after=1000', undefined, bearer(token));
  await stream.frame();
  const get = (path: string) => timed(service.send('GET', path, undefined, bearer(token)));
  const waits = [get(`/questions/${question_id}?wait=50`), get('/runs/run-1?wait=50')];
  const asking = timed(service.send('POST', '/control-signals?wait=50', signal('guidance_request'), bearer(token)));
  // It is let in, and stored, before its token ends.
  await expect.poll(async () => (await admin('GET', '/questions?state=open')).body.items.length).toBeGreaterThan(1);
  await settled(admin);
  return {
    async over(): Promise<void> {
      for (const answer of await Promise.all(waits)) {
        expectProblem(answer, 'UNAUTHORIZED');
        expect(answer.headers['www-authenticate']).toMatch(/^Bearer /);
        expect(answer.took).toBeLessThan(SOON_MS);
      }
      // What has been stored is said to be.
      expect(await asking).toMatchObject({ status: 201, body: { question: { state: 'open' } } });
      for (;;) if ((await stream.frame()) === undefined) break;
      expectProblem(await service.send('GET', '/events', undefined, bearer(token)), 'UNAUTHORIZED');
    },
  };
}

describe.each(engines)('streams and waits on %s', engine => {
  it('end at once with the token that is revoked here, and with no other', async () => {
    const service = await started(engine, { config: SELDOM });
    const tokens = await withTokens(service);
    const [gone, stays] = [await operator(tokens), await operator(tokens)];
    const ending = await underWay(service, tokens.admin, gone.token);
    const { question } = (await tokens.admin('POST', '/control-signals', signal('guidance_request'))).body;
    const waiting = service.send('GET', `/questions/${question.question_id}?wait=50`, undefined, bearer(stays.token));
    await settled(tokens.admin);
    await tokens.revoke(gone);
    await ending.over();
    await tokens.admin('PUT', `/questions/${question.question_id}/answer`, { answer: 'x' });
    expect(await waiting).toMatchObject({ status: 200, body: { state: 'answered' } });
  });

  it('end when the time of their token does', async () => {
    const clock = new ManualClock();
    const service = await started(engine, { config: OFTEN, overrides: { clock } });
    const tokens = await withTokens(service);
    const ending = await underWay(service, tokens.admin, (await operator(tokens, 60)).token);
    clock.advance(60_000);
    await ending.over();
  });
});

describe('on a PostgreSQL that two services share', () => {
  let database: Scratch;
  beforeEach(async () => {
    database = await forThisTest(scratchDatabase('postgres'));
  });

  it('a token that is made in one is let in by the other, and refused by it from its end on', async () => {
    const [one, other] = [
      await started('postgres', { database, config: SELDOM }),
      await started('postgres', { database, config: OFTEN }),
    ];
    expect((await other.send('GET', '/stats')).status).toBe(200);
    const tokens = await withTokens(one);
    const made = await operator(tokens);
    expect((await other.send('GET', '/stats', undefined, bearer(made.token))).status).toBe(200);
    await expect.poll(async () => (await other.send('GET', '/stats')).status).toBe(401);
    const ending = await underWay(other, tokens.admin, made.token);
    await tokens.revoke(made);
    expectProblem(await other.send('GET', '/stats', undefined, bearer(made.token)), 'UNAUTHORIZED');
    await ending.over();
  });
});

function operator(tokens: Tokens, seconds?: number) {
  const until = seconds === undefined ? {} : { expires_in_seconds: seconds };
  return tokens.issue({ role: 'operator', actor: people.operator, ...until });
}
