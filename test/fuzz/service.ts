import { sql } from 'kysely';
import { pino } from 'pino';
import type { Engine } from '../../src/db/engine.ts';
import { openReadOnly } from '../../src/db/open.ts';
import { startApp } from '../helpers/app.ts';
import { handler } from '../helpers/handling.ts';
import { firstToken } from '../helpers/tokens.ts';
import type { Target } from './fuzz.ts';

/** What each write changes, in sums and counts. */
const FINGERPRINT = [
  'select count(*) as a, coalesce(max(sequence), 0) as b from events',
  'select count(*) as a, coalesce(sum(generation), 0) + coalesce(sum(attempts), 0) as b from deliveries',
  'select count(*) as a, coalesce(max(number), 0) as b from messages',
  'select count(deleted_at) as a, coalesce(sum(position), 0) as b from subscriptions',
  "select count(*) as a, max(status) as b from deliveries where status = 'discarded'",
  'select count(*) as a, coalesce(sum(version), 0) as b from threads',
  'select count(*) as a, coalesce(sum(version), 0) as b from control_threads',
  'select count(*) as a, coalesce(sum(version), 0) as b from questions',
  'select count(*) as a, coalesce(sum(version), 0) as b from runs',
  'select count(*) as a, count(revoked_at) as b from tokens',
  'select count(*) as a, coalesce(sum(last_place - first_place), 0) as b from seen',
  'select count(*) as a, coalesce(sum(paused), 0) as b from topics',
  'select count(*) as a, coalesce(max(created_at), 0) as b from idempotency_keys',
  'select count(*) as a, coalesce(sum(count), 0) as b from counts',
];

/** A service on a scratch database with a token for each role, or (`open`) without any. */
export async function startTarget(
  engine: Engine,
  { open }: { open: boolean },
): Promise<Target & { close(): Promise<void> }> {
  // Named as requests name things.
  const handlers = [handler(['own.topic', 'forum.events.**'], () => {}, { name: 'plain' })];
  const config = { RATE_LIMIT_PER_MINUTE: '0' } as object;
  const service = await startApp(engine, { config, overrides: { handlers } });
  const issue = async (body: object, admin: string) => {
    const headers = { authorization: `Bearer ${admin}` };
    return (await service.send('POST', '/tokens', body, headers)).body.token as string;
  };
  const tokens: Record<string, string> = { nobody: '' };
  if (open) delete tokens.nobody;
  if (open) tokens.anybody = '';
  else {
    const admin = (await firstToken(service.url)).token;
    tokens.admin = admin;
    tokens.operator = await issue({ role: 'operator', actor: { type: 'operator', name: 'ana' } }, admin);
    tokens.viewer = await issue({ role: 'viewer', actor: { type: 'human', name: 'eve' } }, admin);
    tokens['operator of a run'] = await issue(
      { role: 'operator', actor: { type: 'operator', name: 'bo' }, runs: 'run-1' },
      admin,
    );
    tokens['viewer of runs'] = await issue(
      { role: 'viewer', actor: { type: 'human', name: 'liz' }, runs: 'run-*' },
      admin,
    );
    tokens.agent = await issue({ role: 'agent', runs: 'run-1', agents: 'builder' }, admin);
    tokens.agents = await issue({ role: 'agent', runs: 'run-*', agents: '*' }, admin);
    tokens.stranger = `fbt_${'0'.repeat(16)}_${'0'.repeat(64)}`;
  }
  const database = await openReadOnly(service.url, pino({ level: 'silent' }));
  return {
    app: service.app,
    tokens,
    async fingerprint() {
      const parts = [];
      for (const query of FINGERPRINT) parts.push((await sql.raw(query).execute(database.read.query)).rows);
      return JSON.stringify(parts);
    },
    async close() {
      await database.close();
      await service.close();
    },
  };
}
