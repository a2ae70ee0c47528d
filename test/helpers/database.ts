import BetterSqlite from 'better-sqlite3';
import pg from 'pg';
import { expect } from 'vitest';

/**
 * Every row of every table, each as JSON text, sorted: equal before and after means that nothing was written.
 * A token's last use, when an agent was last seen, the time of the lease clock and the audit trail are left out: they are
 * stored by themselves.
 * It is read past the service's own code, which could not be believed about itself.
 */
export async function dump(url: string): Promise<Record<string, string[]>> {
  const tables = url.startsWith('sqlite:') ? ofSqlite(url.slice('sqlite:'.length)) : await ofPostgres(url);
  return Object.fromEntries(
    [...tables]
      .filter(([name]) => name !== 'lease_clock' && name !== 'audit')
      .map(
        ([name, rows]) =>
          [
            name,
            rows.map(row => JSON.stringify(row, (key, value) => (isOwn(name, key) ? undefined : value))).sort(),
          ] as const,
      ),
  );
}

function isOwn(table: string, column: string): boolean {
  return column === 'last_used_at' || (table === 'control_threads' && column === 'last_seen_at');
}

/** Runs a request that must write nothing, and answers what it answered. */
export async function withoutTrace<T>(url: string, request: () => Promise<T>): Promise<T> {
  const before = await dump(url);
  const answer = await request();
  expect(await dump(url)).toEqual(before);
  return answer;
}

type Tables = Map<string, unknown[]>;

function ofSqlite(path: string): Tables {
  const file = new BetterSqlite(path, { readonly: true });
  try {
    // A virtual table keeps its rows in ordinary ones beside it.
    const tables = `select name from sqlite_master where type = 'table' and sql not like 'create virtual%' order by name`;
    const names = file.prepare(tables).pluck().all();
    return new Map(names.map(name => [String(name), file.prepare(`select * from "${name}"`).all()]));
  } finally {
    file.close();
  }
}

async function ofPostgres(connectionString: string): Promise<Tables> {
  const client = new pg.Client({ connectionString });
  await client.connect();
  try {
    const { rows } = await client.query(
      `select tablename from pg_tables where schemaname = 'public' order by tablename`,
    );
    const tables: Tables = new Map();
    for (const { tablename } of rows) tables.set(tablename, (await client.query(`table "${tablename}"`)).rows);
    return tables;
  } finally {
    await client.end();
  }
}
