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
  const { db } = services;
  const { signals } = services.forum;
  const send = (run_id: string, fields: object) => {
    const command = { schema_version: 1, run_id, agent_name: 'a', ...fields } as SignalCommand;
    return db.write(async tx => {
      const { tx: seen, rows } = recording(tx);
      return { accepted: await signals.append(seen, command), rows };
    });
  };
  return send;
}

// Works that touch different runs share a transaction side by side, so one that read another run could see it half changed.
describe.each(engines)('what a signal touches on %s', engine => {
  it('is its own run, whatever it does', async () => {
    const send = await forum(engine);
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
    // The ids of an agent's open questions come without their run.
    const questions = new Set(reads.flatMap(row => (row.run_id === 'own' ? row.question_id : [])));
    const isOwn = (row: Row) => (row.run_id === undefined ? questions.has(row.question_id) : row.run_id === 'own');
    expect(reads.filter(row => !isOwn(row))).toEqual([]);
  });
});
