import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { TestApp } from '../helpers/app.ts';
import { ManualClock } from '../helpers/clock.ts';
import { engines } from '../helpers/engines.ts';
import { Expiries, startTimed } from '../helpers/expiry.ts';
import { aRun } from '../helpers/runs.ts';
import { signal } from '../helpers/signals.ts';

/** Sequences of steps on an engine. With this seed each of the breakages that were tried shows. */
const RUNS = { sqlite: 60, postgres: 25 };
const SEED = 4;
const EXPIRES_SECONDS = 60;

/** Spellings of three people; the index is the person. */
const PEOPLE = [['ana', 'Ana', 'a n a'], ['ben', 'BEN'], ['cleo']] as const;
const LABELS = ['Yes', 'No', 'Later'] as const;

interface Given {
  person: 0 | 1 | 2;
  spelling: number;
  label: (typeof LABELS)[number];
}

type Step =
  | ({ does: 'answer' | 'signal' } & Given)
  | { does: 'answer at once'; all: Given[] }
  | { does: 'repeat' | 'cancel' | 'supersede' | 'expire' };

const given: fc.Arbitrary<Given> = fc.record({
  person: fc.constantFrom(0, 1, 2),
  spelling: fc.nat({ max: 2 }),
  label: fc.constantFrom(...LABELS),
});
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: given.map(one => ({ does: 'answer' as const, ...one })) },
  { weight: 3, arbitrary: given.map(one => ({ does: 'signal' as const, ...one })) },
  {
    weight: 2,
    arbitrary: fc.record({
      does: fc.constant('answer at once' as const),
      all: fc.array(given, { minLength: 2, maxLength: 4 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ does: fc.constant('repeat' as const) }) },
  { weight: 1, arbitrary: fc.record({ does: fc.constantFrom('cancel', 'supersede', 'expire') }) },
);

/** A question for two in memory, as the contract words it. */
class Model {
  state = 'open';
  version = 1;
  winner: string | undefined;
  /** Of each person, in the order in which they were given. */
  said = new Map<number, string>();

  /** @returns the code of the refusal, if it is one */
  answer({ person, label }: Given): string | undefined {
    if (this.state === 'answered') return label === this.winner ? undefined : 'ALREADY_ANSWERED';
    if (this.state !== 'open') return 'QUESTION_CLOSED';
    if (this.said.get(person) === label) return undefined;
    this.said.delete(person);
    this.said.set(person, label);
    this.version += 1;
    if ([...this.said.values()].filter(one => one === label).length < 2) return undefined;
    this.state = 'answered';
    this.winner = label;
    return undefined;
  }

  close(state: string): void {
    if (this.state !== 'open') return;
    this.state = state;
    this.version += 1;
  }
}

describe.each(engines)('a question for two on %s', engine => {
  const clock = new ManualClock();
  const expiries = new Expiries();
  let service: TestApp;
  let runs = 0;
  beforeAll(async () => {
    service = await startTimed(engine, { clock, expiries });
  });
  afterAll(() => service.close());

  it('does what its model does, whatever people answer', async () => {
    const histories = fc.array(step, { minLength: 2, maxLength: 14 });
    const property = fc.asyncProperty(histories, async steps => {
      runs += 1;
      const question = await begin(`model-${runs}`);
      for (const one of steps) {
        await question.take(one);
        await question.compare();
      }
      await question.end();
    });
    await fc.assert(property, { seed: SEED, numRuns: RUNS[engine] });
  });

  async function begin(run_id: string) {
    const run = aRun(service.send, run_id);
    const options = LABELS.map(label => ({ label }));
    const id = await run.ask('builder', { approvals: 2, options, expires_in_seconds: EXPIRES_SECONDS });
    const model = new Model();
    let last: Given | undefined;

    const bodyOf = ({ person, spelling, label }: Given) => {
      const names = PEOPLE[person];
      return { selected: [label], actor: { type: 'operator', name: names[spelling % names.length] } };
    };
    const put = (one: Given) => service.send('PUT', `/questions/${id}/answer`, bodyOf(one));
    const check = ({ status, body }: Awaited<ReturnType<typeof put>>, code: string | undefined) =>
      expect(status < 300 ? undefined : body.code, JSON.stringify(body)).toBe(code);

    return {
      async take(step: Step): Promise<void> {
        switch (step.does) {
          case 'answer':
            last = step;
            return check(await put(step), model.answer(step));
          case 'signal': {
            last = step;
            const fields = { run_id, in_reply_to: id, answer: step.label, ...bodyOf(step) };
            return check(
              await service.send('POST', '/control-signals', signal('guidance_answer', fields)),
              model.answer(step),
            );
          }
          case 'answer at once': {
            // In whatever order the service takes them: each history of them must be one of the model.
            const before = { state: model.state, version: model.version, winner: model.winner, said: model.said };
            const answers = await Promise.all(step.all.map(put));
            const outcome = JSON.stringify([await this.shown(), answers.map(({ body }) => body.code)]);
            const fits = permutations(step.all.map((_, index) => index)).some(order => {
              Object.assign(model, { ...before, said: new Map(before.said) });
              const codes: (string | undefined)[] = [];
              for (const index of order) codes[index] = model.answer(step.all[index] as Given);
              return JSON.stringify([expected(model), codes]) === outcome;
            });
            return expect(fits, outcome).toBe(true);
          }
          case 'repeat':
            return last && check(await put(last), model.answer(last));
          case 'cancel':
            await service.send('POST', `/questions/${id}/cancel`);
            return model.close('cancelled');
          case 'supersede':
            await run.signal('guidance_request', 'builder', { supersedes: id });
            return model.close('superseded');
          case 'expire':
            if (model.state !== 'open') return;
            clock.advance(EXPIRES_SECONDS * 1000);
            await expiries.of(id);
            return model.close('expired');
        }
      },

      /** What the service says of it. */
      async shown() {
        const { state, version, answer, approvals } = (await service.send('GET', `/questions/${id}`)).body;
        const said = (approvals as { answered_by: { name: string }; answer: string }[]).map(one => [
          PEOPLE.findIndex(names => (names as readonly string[]).includes(one.answered_by.name)),
          one.answer,
        ]);
        return { state, version, answer, said };
      },

      async compare(): Promise<void> {
        expect(await this.shown()).toEqual(expected(model));
      },

      /** The log tells the same. */
      async end(): Promise<void> {
        const types = (await run.events()).map(({ event_type }) => event_type);
        const count = (type: string) => types.filter(one => one === type).length;
        expect(count('forum.question.answered')).toBe(model.state === 'answered' ? 1 : 0);
        const changes = model.version - 1 - (model.state === 'open' ? 0 : 1);
        expect(count('forum.question.approved')).toBe(changes);
        if (model.state === 'open') await service.send('POST', `/questions/${id}/cancel`);
      },
    };
  }
});

function expected({ state, version, winner, said }: Model) {
  return { state, version, answer: winner ?? null, said: [...said] };
}

function permutations(items: number[]): number[][] {
  if (items.length < 2) return [items];
  return items.flatMap(one => permutations(items.filter(other => other !== one)).map(rest => [one, ...rest]));
}
