import { describe, expect, it, onTestFinished } from 'vitest';
import { migrations } from '../../migrations/index.ts';
import type { Engine } from '../../src/db/engine.ts';
import { startApp } from '../helpers/app.ts';
import { dump } from '../helpers/database.ts';
import { emptyDatabase, engines } from '../helpers/engines.ts';
import { loadPreviousRelease, previousTokens } from '../helpers/previous-release.ts';
import { startReceiver, toLoopback } from '../helpers/receiver.ts';
import { signal } from '../helpers/signals.ts';
import { sqlBeside } from '../helpers/sql.ts';
import { migrateTo } from '../helpers/versions.ts';

/** The number of migrations up to one. */
const upTo = (name: string) => Object.keys(migrations).indexOf(name) + 1;
/** What Kysely notes itself, and what each start writes anew. */
const OWN = ['kysely_migration', 'subscription_servers'];
/** A consumer that was deleted last: its number is the largest. */
const GONE = 'gone';

/** A database that has no page and no webhooks yet, with data of all kinds. */
async function databaseBefore(engine: Engine): Promise<string> {
  const database = await emptyDatabase(engine);
  onTestFinished(database.drop);
  const { url } = database;
  await loadPreviousRelease(url);
  await migrateTo(upTo('012-agents'), engine, url);
  await sqlBeside(
    url,
    `insert into subscriptions (name, kind, topics, dead_policy, position, created_at, last_seen_at, deleted_at)
     values ('${GONE}', 'handler', '["forum.**"]', 'block', 4, 1, 2, 3)`,
  );
  await sqlBeside(url, `insert into subscription_servers select subscription_id, 'laptop-1' from subscriptions`);
  return url;
}

const idOf = async (url: string, name: string) => {
  const [row] = await sqlBeside(url, `select subscription_id from subscriptions where name = '${name}'`);
  return Number(row?.subscription_id);
};

describe.each(engines)('the migrations for the page and webhooks on %s', engine => {
  it('keep every row, and change nothing when they come again', async () => {
    const url = await databaseBefore(engine);
    const old = await dump(url);
    await migrateTo(upTo('014-webhooks'), engine, url);
    const now = await dump(url);
    for (const [table, rows] of Object.entries(old)) {
      if (OWN.includes(table)) continue;
      const columns = Object.keys(JSON.parse(rows[0] ?? '{}'));
      const kept = (now[table] ?? []).map(text => {
        const row = JSON.parse(text);
        return JSON.stringify(Object.fromEntries(columns.map(column => [column, row[column]])));
      });
      expect(kept.toSorted(), table).toEqual(rows.map(row => JSON.stringify(JSON.parse(row))).toSorted());
    }
    expect(old.subscriptions?.length).toBeGreaterThan(3);
    expect(old.questions?.length).toBeGreaterThan(3);
    // Nobody is reminded of what was asked before, and no subscription is narrowed.
    for (const text of now.questions ?? []) expect(JSON.parse(text)).toMatchObject({ remind_at: null });
    for (const text of now.subscriptions ?? []) expect(JSON.parse(text)).toMatchObject({ filter: null });
    expect([now.webhooks, now.webhook_replays, now.page_logins]).toEqual([[], [], []]);
    expect(now.link_secrets).toEqual([expect.stringMatching(/^\{"secret":"[0-9a-f]{64}"\}$/)]);

    await migrateTo(upTo('014-webhooks'), engine, url);
    expect(await dump(url)).toEqual(now);
  });

  it('let a webhook and a login of a browser join what was there', async () => {
    const url = await databaseBefore(engine);
    const last = await idOf(url, GONE);
    const service = await startApp(engine, { database: { url, drop: async () => {} }, config: toLoopback });
    onTestFinished(() => service.close());
    const send = (path: string, body?: object) =>
      service.send('POST', path, body, { authorization: `Bearer ${previousTokens.operator}` });
    const { url: endpoint, events } = await startReceiver();
    const created = await send('/webhooks', { name: 'chat', url: endpoint, event_types: ['forum.question.opened'] });
    expect(created.status, JSON.stringify(created.body)).toBe(201);
    // A number of before never stands for another consumer.
    expect(await idOf(url, 'webhook:chat')).toBeGreaterThan(last);
    const asked = await send('/control-signals', signal('guidance_request', { run_id: 'after' }));
    expect(asked.status, JSON.stringify(asked.body)).toBe(201);
    const told = () => events().map(event => event.payload.question_id);
    await expect.poll(told, { timeout: 20_000 }).toEqual([asked.body.question.question_id]);
    expect((await send('/page/links')).status).toBe(201);
  });
});
