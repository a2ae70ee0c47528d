import { describe, expect, it, onTestFinished } from 'vitest';
import { parseToken } from '../../src/access/secret.ts';
import { emptyDatabase, engines } from './engines.ts';
import {
  expectations,
  leftAt,
  loadPreviousRelease,
  type OutboxRow,
  previousRelease,
  previousTokens,
} from './previous-release.ts';
import { sqlBeside } from './sql.ts';

describe.each(engines)('the database of the previous release on %s', engine => {
  const load = async () => {
    const { url, drop } = await emptyDatabase(engine);
    onTestFinished(drop);
    await loadPreviousRelease(url);
    return (statement: string) => sqlBeside(url, statement);
  };

  it('has the rows of the file, and no later migration', async () => {
    const query = await load();
    for (const [table, rows] of Object.entries(previousRelease)) {
      const columns = Object.keys(rows[0] as object);
      const stored = await query(`select ${columns.join(', ')} from ${table}`);
      // The driver for PostgreSQL answers large integers as text.
      const textOrNull = (value: unknown) => (value === null ? null : String(value));
      const texts = (all: object[]) => all.map(row => JSON.stringify(Object.values(row).map(textOrNull))).sort();
      expect(texts(stored), table).toEqual(texts(rows));
    }
    const names = (await query('select name from kysely_migration order by name')).map(({ name }) => name);
    expect(names.at(-1)).toBe('010-trust');
  });

  it('goes on counting after its rows', async () => {
    const query = await load();
    const [before] = await query(`select max(number) as number from search_threads`);
    await query(`insert into search_threads (opened_sequence) values (1000000)`);
    const [added] = await query(`select number from search_threads where opened_sequence = 1000000`);
    expect(Number(added?.number)).toBe(Number(before?.number) + 1);
    const columns = Object.keys(previousRelease.outbox[0] as object).filter(name => name !== 'position');
    const values = columns.map(name => (name === 'message_id' ? `'new'` : name));
    await query(
      `insert into outbox (${columns.join(', ')}) select ${values.join(', ')} from outbox where message_id = 'mail-1'`,
    );
    const [message] = await query(`select position from outbox where message_id = 'new'`);
    expect(Number(message?.position)).toBe(Math.max(...previousRelease.outbox.map(row => row.position)) + 1);
  });
});

it('knows tokens of the previous release, and when it ended', () => {
  for (const token of Object.values(previousTokens))
    expect(previousRelease.tokens).toContainEqual(expect.objectContaining(parseToken(token)));
  expect(new Date(leftAt).toISOString()).toMatch(/^2026-11-22T06:43/);
});

describe('what is expected of the messages of the previous release', () => {
  const { waiting, paused, dead, blocked, discarded, sent, deleted } = expectations();

  it('names each message that is not sent once', () => {
    const unsent = previousRelease.outbox.filter(row => row.status !== 'sent').map(row => row.position);
    const named = [waiting, paused, dead, blocked, discarded].flat().map(({ row }) => row.position);
    expect(named.toSorted((a, b) => a - b)).toEqual(unsent);
    expect(sent.map(({ row }) => [row.status, row.origin_id])).toEqual(sent.map(() => ['sent', null]));
  });

  it('has each state in which a message can be left', () => {
    const states: Record<string, (row: OutboxRow) => boolean> = {
      'queued behind others': row => row.status === 'pending' && row.lane !== null && row.claimable_at === null,
      'without a key': row => row.status === 'pending' && row.message_key === null,
      'of an event': row => row.status === 'pending' && row.event_sequence !== null,
      'put off by its publisher': row => row.attempts === 0 && row.available_at > row.created_at + 1e9,
      'waiting for a retry': row => row.status === 'failed' && row.claimable_at !== null,
      'leased to a process that died': row => row.status === 'processing' && row.attempts === 1,
      'lost by two processes': row => row.status === 'processing' && row.attempts === 2 && row.history === '[]',
      'without a handler': row => row.parked === `handler:${row.topic}`,
      'without the handler of its copy': row => row.parked === `handler:${row.topic}:${row.consumer}`,
      replayed: row => row.generation === 2 && row.status === 'pending' && row.history !== '[]',
      'a copy in a lane': row => row.origin_id !== null && row.lane !== null,
      'of a request with a trace and a token': row => row.traceparent !== null && row.token_id !== null,
    };
    for (const [state, matches] of Object.entries(states)) {
      expect(waiting.map(({ row }) => row).filter(matches), state).not.toEqual([]);
    }
    expect(paused.map(({ row }) => row.parked)).toContain('resume:forum.integration.sms');
    expect(new Set(dead.map(({ blocks, consumer }) => `${blocks} ${consumer}`))).toEqual(
      new Set(['true null', 'true audit', 'false null', 'false chat', 'false audit']),
    );
    expect(Object.values(Object.groupBy(blocked, one => one.behind)).map(group => group?.length)).toEqual(
      expect.arrayContaining([3, 4]),
    );
    expect(sent.filter(({ row }) => row.result !== null)).not.toEqual([]);
    expect(deleted).toEqual(expect.arrayContaining(['note-a2', 'note-a4', 'note-k1']));
    // Otherwise a message of theirs that is not routed would wait for some of its handlers only.
    const keys = [...blocked, ...paused].filter(({ consumer }) => consumer !== null).map(({ row }) => row.message_key);
    expect(waiting.filter(({ consumer, row }) => consumer === null && keys.includes(row.message_key))).toEqual([]);
  });
});
