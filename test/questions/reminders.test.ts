import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { TestApp } from '../helpers/app.ts';
import { ManualClock } from '../helpers/clock.ts';
import { engines } from '../helpers/engines.ts';
import { Expiries, startTimed } from '../helpers/expiry.ts';
import { signal } from '../helpers/signals.ts';

const soon = { timeout: 120_000, interval: 20 };

describe.each(engines)('a question that waits for long on %s', engine => {
  const clock = new ManualClock();
  let service: TestApp;
  beforeAll(async () => {
    service = await startTimed(engine, { clock, expiries: new Expiries() });
  });
  afterAll(() => service.close());

  let agents = 0;
  const ask = async (fields: object): Promise<string> => {
    const body = signal('guidance_request', { agent_name: `agent-${++agents}`, ...fields });
    return (await service.send('POST', '/control-signals', body)).body.question.question_id;
  };
  const reminders = async (): Promise<string[]> => {
    const { items } = (await service.send('GET', '/events?event_type=forum.question.reminded')).body;
    return items.map(({ payload }: { payload: { question_id: string } }) => payload.question_id);
  };

  it('is called to mind once, after its own time or that of its priority, as long as it is open', async () => {
    const own = await ask({ remind_after_seconds: 60 });
    const answered = await ask({ remind_after_seconds: 60 });
    const never = await ask({ priority: 'urgent', remind_after_seconds: 0 });
    const urgent = await ask({ priority: 'urgent' });
    const high = await ask({ priority: 'high' });
    const normal = await ask({});
    const low = await ask({ priority: 'low' });
    const given = { answer: 'Yes.', actor: { type: 'operator', name: 'ana' } };
    expect((await service.send('PUT', `/questions/${answered}/answer`, given)).status).toBe(200);
    const reached = (...ids: string[]) => vi.waitFor(async () => expect(await reminders()).toEqual(ids), soon);
    clock.advance(60_000);
    await reached(own);
    clock.advance(240_000);
    await reached(own, urgent);
    clock.advance(1_500_000);
    await reached(own, urgent, high);
    clock.advance(12_600_000);
    await reached(own, urgent, high, normal);
    clock.advance(30 * 24 * 3_600_000);
    const last = await ask({ remind_after_seconds: 1 });
    clock.advance(1000);
    await reached(own, urgent, high, normal, last);
    for (const id of [never, low]) expect((await service.send('GET', `/questions/${id}`)).body.state).toBe('open');
  });
});
