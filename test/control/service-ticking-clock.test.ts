import fc from 'fast-check';
import { describe, expect, it, onTestFinished } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { ManualClock } from '../helpers/clock.ts';
import { engines } from '../helpers/engines.ts';
import { acts, runOf } from '../helpers/run-acts.ts';
import { signal } from '../helpers/signals.ts';
import { sqlBeside } from '../helpers/sql.ts';
import { type Observed, readStore } from '../verify/observe.ts';
import { proveProjections } from '../verify/projection-proofs.ts';

const RUNS = { sqlite: 100, postgres: 20 };

/** A millisecond ends between any two looks at it. */
class TickingClock extends ManualClock {
  override now(): number {
    this.time += 1;
    return this.time;
  }
}

describe.each(engines)('a clock that goes on within each act, on %s', engine => {
  it('leaves every row as the log says', async () => {
    const service = await startApp(engine, { overrides: { clock: new TickingClock() } });
    onTestFinished(() => service.close());
    const seed = Math.floor(Math.random() * 2 ** 31);
    for (const [number, list] of fc.sample(acts, { numRuns: RUNS[engine], seed }).entries()) {
      const run = runOf(service.send.bind(service), `run-${number}`);
      for (const act of list) await run.act(act);
      await readInbox(service, `run-${number}`);
    }
    const { questions } = await proven(service, seed);
    expect(questions.filter(({ acknowledged_at }) => acknowledged_at !== null).length).toBeGreaterThan(RUNS[engine]);
  });
});

/** Ends three questions of an agent, and acknowledges all that is in its inbox at once. */
async function readInbox({ send }: TestApp, run_id: string): Promise<void> {
  for (let asked = 0; asked < 3; asked += 1) {
    const { body } = await send('POST', '/control-signals', signal('guidance_request', { run_id }));
    // The run or its thread may be closed.
    if (body.question) await send('PUT', `/questions/${body.question.question_id}/answer`, { answer: 'Europe.' });
  }
  const inbox = `/control-threads/${run_id}/builder/inbox`;
  const items: { item_id: string }[] = (await send('GET', inbox)).body.items ?? [];
  if (items.length === 0) return;
  const { status } = await send('POST', `${inbox}/acknowledge`, { item_ids: items.map(({ item_id }) => item_id) });
  expect(status).toBe(200);
}

async function proven({ url }: TestApp, seed: number): Promise<Observed['tables']> {
  // There are no handlers, and so no effects of theirs.
  const query = async (statement: string) =>
    statement.includes('verify_effects') ? [] : ((await sqlBeside(url, statement)) as Record<string, unknown>[]);
  const stored = await readStore({ query } as Parameters<typeof readStore>[0]);
  // Messages to agents leave an inbox without an event.
  const received = new Set(stored.events.map(({ sequence }) => `item_${sequence}`));
  const observed = { ...stored, received, claimed: [], sightings: [], asked: [] };
  const ofLog = proveProjections({ ...observed, marks: [] } as unknown as Observed).filter(
    ({ claim }) => claim.includes('what the log says') || claim.includes('one item'),
  );
  expect(ofLog.length).toBeGreaterThan(5);
  expect(
    ofLog.flatMap(({ faults }) => faults),
    `seed ${seed}`,
  ).toEqual([]);
  return stored.tables;
}
