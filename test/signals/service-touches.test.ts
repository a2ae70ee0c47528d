import type { KyselyPlugin } from 'kysely';
import { pino } from 'pino';
import { describe, expect, it, onTestFinished } from 'vitest';
import { readConfig } from '../../src/config.ts';
import type { Tx } from '../../src/db/database.ts';
import type { Engine } from '../../src/db/engine.ts';
import { createServices } from '../../src/services.ts';
import type { SignalCommand } from '../../src/signals/command.ts';
import { engines, scratchDatabase } from '../helpers/engines.ts';
import { forThisTest } from '../helpers/process.ts';

type Row = Record<string, unknown>;

/** The transaction, and every row that is read through it. */
function recording(tx: Tx): { tx: Tx; rows: Row[] } {
  const rows: Row[] = [];
  const plugin: KyselyPlugin = {
    transformQuery: ({ node }) => node,
    async transformResult({ result }) {
      rows.push(...(result.rows as Row[]));
      return result;
    },
  };
  const kept = <T>(found: T[]): T[] => {
    rows.push(...(found as Row[]));
    return found;
  };
  const recorded = new Proxy(tx, {
    get(target, name) {
      if (name === 'query') return target.query.withPlugin(plugin);
      if (name === 'all') return async (...read: Parameters<Tx['all']>) => kept(await target.all(...read));
      if (name === 'first') {
        return async (...read: Parameters<Tx['all']>) => kept(await target.all(...read))[0];
      }
      const member = Reflect.get(target, name, target);
      return typeof member === 'function' ? member.bind(target) : member;
    },
  });
  return { tx: recorded, rows };
}

async function forum(engine: Engine) {
  const { url: DATABASE_URL } = await forThisTest(scratchDatabase(engine));
  const services = await createServices(readConfig({ DATABASE_URL, ROLE: 'http' }), pino({ level: 'silent' }));
  onTestFinished(services.close);
  const { signals } = services.forum;
  /** Answers what a work answers, and every row that it reads. */
  const act = <T>(work: (tx: Tx) => Promise<T>) =>
    services.db.write(async tx => {
      const { tx: seen, rows } = recording(tx);
      return { result: await work(seen), rows };
    });
  const send = async (run_id: string, fields: object) => {
    const command = { schema_version: 1, run_id, agent_name: 'a', ...fields } as SignalCommand;
    const { result, rows } = await act(tx => signals.accept(tx, command));
    return { accepted: result, rows };
  };
  return { ...services.forum, act, send };
}

/** The rows that are of another run. The ids of an agent's open questions come without their run. */
function foreign(reads: Row[]): Row[] {
  const questions = new Set(reads.flatMap(row => (row.run_id === 'own' ? row.question_id : [])));
  const isOwn = (row: Row) => (row.run_id === undefined ? questions.has(row.question_id) : row.run_id === 'own');
  return reads.filter(row => !isOwn(row));
}

// Works that touch different runs share a transaction side by side, so one that read another run could see it half changed.
describe.each(engines)('what a signal touches on %s', engine => {
  it('is its own run, whatever it does', async () => {
    const { send } = await forum(engine);
    const ask = { control_type: 'guidance_request', question: 'Which?' };
    const reads: Row[] = [];
    for (const run of ['other', 'own', 'other', 'own']) {
      const { accepted: first } = await send(run, ask);
      const old = first.question?.question_id;
      const steps = [
        { ...ask, supersedes: old, options: [{ label: 'x' }, { label: 'y' }] },
        { control_type: 'guidance_answer', answer: 'This.', selected: ['x'] },
        { control_type: 'completion', summary: 'Done.' },
        { control_type: 'validation', status: 'passed', done_criteria: 'Tests.' },
      ];
      for (const step of steps) {
        const { rows } = await send(run, step);
        if (run === 'own') reads.push(...rows);
      }
      const again = { control_type: 'guidance_answer', answer: 'This.', selected: ['x'] };
      const { accepted } = await send(run, { ...ask, agent_name: 'b' });
      await send(run, { ...again, agent_name: 'b', in_reply_to: accepted.question?.question_id, selected: [] });
      const { rows } = await send(run, {
        ...again,
        agent_name: 'b',
        in_reply_to: accepted.question?.question_id,
        selected: [],
      });
      if (run === 'own') reads.push(...rows);
    }
    expect(reads.length).toBeGreaterThan(20);
    expect(foreign(reads)).toEqual([]);
  });
});

describe.each(engines)('what an act on a run touches on %s', engine => {
  it('is that run, whoever acts', async () => {
    const { send, act, runs, control, inbox, questions } = await forum(engine);
    const ana = { type: 'human', name: 'ana' } as const;
    const reads: Row[] = [];
    for (const run of ['other', 'own']) {
      const agent = { run_id: run, agent_name: 'a' };
      const noted = async <T>(work: (tx: Tx) => Promise<T>): Promise<T> => {
        const { result, rows } = await act(work);
        if (run === 'own') reads.push(...rows);
        return result;
      };
      const ask = async () => {
        const { accepted } = await send(run, { control_type: 'guidance_request', question: 'Which?' });
        return accepted.question?.question_id as string;
      };
      const [first, second] = [await ask(), await ask()];
      expect(await questions.touches(first)).toEqual([`run ${run}`]);
      const brief = { title: 'T', done_criteria: 'Tests.', agents: ['a', 'b'] };
      await noted(tx => runs.brief(tx, run, brief, ana, undefined));
      await noted(tx => questions.cancel(tx, first, ana));
      const { items } = await noted(tx => inbox.claim(tx, agent, { claimant: 'c', lease_seconds: 9, limit: 5 }));
      expect(items).toHaveLength(1);
      const ids = items.map(({ item_id }) => item_id);
      await noted(tx => inbox.acknowledge(tx, agent, ids, undefined));
      await send(run, { control_type: 'guidance_answer', answer: 'This.', in_reply_to: second });
      await noted(tx => questions.acknowledge(tx, second, undefined));
      await noted(tx => control.nextAttempt(tx, run, 'a', ana));
      await noted(tx => control.withdraw(tx, run, 'a', ana));
      const b = { agent_name: 'b' };
      await send(run, { ...b, control_type: 'completion', summary: 'Done.' });
      await send(run, { ...b, control_type: 'validation', status: 'passed', done_criteria: 'Tests.' });
      await noted(tx => runs.brief(tx, run, { ...brief, agents: [] }, ana, undefined));
      await noted(tx => runs.close(tx, run, ana, undefined));
    }
    expect(reads.length).toBeGreaterThan(20);
    expect(foreign(reads)).toEqual([]);
  });
});
