import BetterSqlite from 'better-sqlite3';
import pg from 'pg';

/** Runs one statement as another program on the same database would, and answers its rows. */
export async function runBeside(url: string, sql: string): Promise<unknown[]> {
  if (url.startsWith('sqlite:')) {
    const file = new BetterSqlite(url.slice('sqlite:'.length));
    try {
      const statement = file.prepare(sql);
      if (statement.reader) return statement.all();
      statement.run();
      return [];
    } finally {
      file.close();
    }
  }
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}
