import { CompiledQuery, Kysely, sql, type Transaction } from 'kysely';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Tx, untimed } from '../../src/db/database.ts';
import type { Engine } from '../../src/db/engine.ts';
import { formOf, tableOf } from '../../src/db/postgres/batch-form.ts';
import { postgresDialect } from '../../src/db/postgres/dialect.ts';
import { applySettings } from '../../src/db/postgres/settings.ts';
import type { Schema } from '../../src/db/schema.ts';
import { sqliteDialect } from '../../src/db/sqlite/dialect.ts';
import { type Compiled, type Executor, statementCompiler, timedReads } from '../../src/db/statement.ts';
import { findTexts } from '../../src/search/repository.ts';
import { termsOf } from '../../src/search/words.ts';
import { startApp, type TestApp } from '../helpers/app.ts';
import { dialect } from '../helpers/dialect.ts';
import { engines } from '../helpers/engines.ts';
import { fromTheEnd, grouped, indexes, merged, statements } from './statements.ts';

/**
 * A table read whole, or rows sorted after they were read, would grow with history. `due`, `hop`, `branch`, `moved`,
 * `asked` and `ended` are sub-queries, `json_each` is what the caller has given.
 */
const growing =
  /Seq Scan on (?!due|hop)|SCAN (?!due|hop|branch|moved|asked|ended|json_each|\d+ CONSTANT|CONSTANT|.*USING)|TEMP B-TREE FOR ORDER BY|(^|-> {2})(Incremental )?Sort$/;

/** What the service sets, and more: with tables this small the planner would rather read them whole and sort. */
const settings =
  '-c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off -c enable_sort=off -c enable_bitmapscan=off -c random_page_cost=0.1';

describe.each(engines)('the query plan on %s', engine => {
  let service: TestApp;
  let db: Kysely<Schema>;
  let seen: CompiledQuery[];

  beforeAll(async () => {
    service = await startApp(engine);
    seen = [];
    db = new Kysely<Schema>({
      dialect: dialect(engine, service.url, settings),
      log: event => void seen.push(event.query),
    });
  });
  afterAll(async () => {
    await db.destroy();
    await service.close();
  });

  it.each(Object.keys(statements))('of %s reads off an index', async name => {
    seen.length = 0;
    await db.transaction().execute(async query => {
      await statements[name]?.(asTx(query, engine));
    });
    const plan = await explain(db, engine, statementSeen());
    if (fromTheEnd(name, engine)) {
      expect(plan).toMatch(/^SCAN (events|audit)$/);
      return;
    }
    expect(plan).toMatch(/INDEX|Index|PRIMARY KEY/);
    const mayBeSorted = (line: string) =>
      (grouped.includes(name) && /Sort|TEMP B-TREE/.test(line)) || (merged.includes(name) && /TEMP B-TREE/.test(line));
    const lines = plan.split('\n');
    expect(lines.filter(line => growing.test(line) && !mayBeSorted(line))).toEqual([]);
    const index = indexes[name];
    if (index) for (const look of looks(lines)) expect(look).toMatch(index);
  });

  it.runIf(engine === 'postgres')('of many calls that are sent together finds each by its key', async () => {
    const looked: string[] = [];
    for (const [name, run] of Object.entries(statements)) {
      seen.length = 0;
      await db.transaction().execute(async query => run(asTx(query, engine)));
      const form = formOf(statementSeen().sql);
      if (!form) continue;
      looked.push(name);
      const types = statementSeen().parameters.map(value => (typeof value === 'number' ? 'bigint' : 'text'));
      const text = `explain (costs off, generic_plan) ${form.text(tableOf(types))}`;
      const { rows } = await db.executeQuery<Record<string, string>>(CompiledQuery.raw(text));
      const plan = rows.map(row => row['QUERY PLAN'] as string);
      expect(plan.some(line => /Index (Only )?Scan/.test(line))).toBe(true);
      expect(plan.filter(line => /Seq Scan|Hash Join|Merge Join/.test(line))).toEqual([]);
    }
    expect(looked).toEqual(expect.arrayContaining(['a run', 'events at their sequences']));
  });

  it.runIf(engine === 'postgres')(
    'of a small table finds rows by their keys, as it must when the table has grown',
    async () => {
      const messages = Array.from({ length: 100 }, (_, number) => ({
        message_id: `m-${number}`,
        topic: 'a.b',
        payload: {},
      }));
      for (const message of messages) expect((await service.send('POST', '/outbox', message)).status).toBe(201);
      const client = new pg.Client(service.url);
      await client.connect();
      await applySettings(client, {});
      await client.query('analyze');
      for (const name of ['the claim', 'the next in a lane', 'messages that were handled', 'the head of a lane']) {
        seen.length = 0;
        await db.transaction().execute(async query => statements[name]?.(asTx(query, engine)));
        const { rows } = await client.query(`explain (costs off, generic_plan) ${statementSeen().sql}`);
        const plan = rows.map(row => row['QUERY PLAN'] as string);
        for (const look of looks(plan)) expect(look, plan.join('\n')).toMatch(/Index Cond/);
        expect(plan.filter(line => growing.test(line) && !/Sort/.test(line))).toEqual([]);
      }
      await client.end();
    },
  );

  // SQLite compares a pair by its first column only: each hop would read all lanes before it.
  it.each(engine === 'sqlite' ? ['the next lanes'] : [])('of %s finds each by its key', async name => {
    seen.length = 0;
    await db.transaction().execute(async query => {
      await statements[name]?.(asTx(query, engine));
    });
    const plan = await explain(db, engine, statementSeen());
    expect(plan.match(/deliveries_lane \(subscription_id=\? AND message_key>\?\)/g)).toHaveLength(2);
  });

  it('of a search reads the words that are looked for, or the newest rows first', async () => {
    await db.transaction().execute(async query => {
      const planOf = async (word: string) => {
        const range = { above: 0, below: Number.MAX_SAFE_INTEGER, limit: 500 };
        seen.length = 0;
        await findTexts(asTx(query, engine), engine, 'search_replies', termsOf(word), range);
        return explain(query, engine, statementSeen('search_replies'));
      };
      if (engine === 'sqlite') {
        // M: by the words that match, > and <: between two row ids. They come in the order of the row ids, so none is sorted.
        expect(await planOf('few')).toMatch(/^SCAN search_replies VIRTUAL TABLE INDEX \d+:M\d+><$/);
        // The words that begin so are read from the vocabulary, between two ends, in the first of two statements.
        expect(await planOf('longer')).toMatch(/^SCAN search_replies_words VIRTUAL TABLE INDEX \d+:/);
        return;
      }
      await sql`insert into search_threads (opened_sequence) select * from generate_series(1, 10000)`.execute(query);
      // The planner knows how common a word is, if there are some.
      await sql`insert into search_replies
        select i::bigint << 22, (select string_agg('w' || (i * 7919 + k * 104729) % 5000, ' ') || ' common'
          from generate_series(1, 60) as k)::tsvector
        from generate_series(1, 10000) as i`.execute(query);
      await sql`analyze search_replies`.execute(query);
      for (const setting of ['enable_bitmapscan', 'enable_sort']) {
        await sql`set local ${sql.ref(setting)} = on`.execute(query);
      }
      expect(await planOf('rare')).toMatch(/Bitmap Index Scan on search_replies_words/);
      expect(await planOf('common')).toMatch(/^Limit\n +-> {2}Index Scan Backward using search_replies_pkey/);
    });
  });

  function statementSeen(about = ''): CompiledQuery {
    const [statement] = seen.filter(
      query => /^(select|with|update)/.test(query.sql.trim()) && query.sql.includes(about),
    );
    return statement as CompiledQuery;
  }
});

/** What a plan says of how rows of a table are found; PostgreSQL says on a line of its own by which columns. */
function looks(lines: string[]): string[] {
  // Whether a run is being erased is looked up for each row; the index of paused topics has no others.
  const own = lines.filter(line => !/\berasures\b|\btopics_paused\b/.test(line));
  return own.flatMap((line, at) => (/SEARCH |Index (Only )?Scan/.test(line) ? [`${line}\n${own[at + 1]}`] : []));
}

const dialects = { sqlite: sqliteDialect, postgres: postgresDialect };

/** Runs statements through Kysely, which shows them to its log. */
function asTx(query: Transaction<Schema>, engine: Engine): Tx {
  const compile = statementCompiler({ query, dialect: dialects[engine], leaseClock: () => 0 });
  const send = ({ text, bind }: Compiled, values: object) => query.executeQuery(CompiledQuery.raw(text, bind(values)));
  const executor: Executor = {
    compile,
    all: async (compiled, values) => (await send(compiled, values)).rows,
    run: async (compiled, values) => Number((await send(compiled, values)).numAffectedRows),
    insert: async () => 0,
    send,
  };
  return {
    query,
    leaseNow: sql<number>`cast(0 as bigint)`,
    traceparent: null,
    tokenId: null,
    ...timedReads(executor, untimed),
    run: async (statement, values) => executor.run(compile(statement as never), values as object),
    insert: async () => 0,
    send: (statement, values) => void executor.send(compile(statement as never), values as object),
    beforeCommit: () => {},
    count: () => {},
    afterCommit: () => {},
    hasWritten: false,
    announceEvents() {},
  };
}

async function explain(db: Kysely<Schema>, engine: Engine, query: CompiledQuery): Promise<string> {
  const prefix = engine === 'sqlite' ? 'explain query plan ' : 'explain (costs off) ';
  const { rows } = await db.executeQuery<Record<string, string>>({ ...query, sql: prefix + query.sql });
  return rows.map(row => row.detail ?? row['QUERY PLAN']).join('\n');
}
