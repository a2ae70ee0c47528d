import BetterSqlite from 'better-sqlite3';
import pg from 'pg';

/** Runs one statement beside the service, as another program would, and answers its rows. */
export async function sqlBeside(url: string, statement: string): Promise<Record<string, unknown>[]> {
  if (url.startsWith('sqlite:')) {
    const file = new BetterSqlite(url.slice('sqlite:'.length), { timeout: 5000 });
    try {
      const prepared = file.prepare(statement);
      if (prepared.reader) return prepared.all() as Record<string, unknown>[];
      prepared.run();
      return [];
    } finally {
      file.close();
    }
  }
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(statement)).rows;
  } finally {
    await client.end();
  }
}
