import pg from 'pg';
import { countedOfEach, kept, valueIn } from './copies.ts';

/** The row id of a reply has the number of its thread above these bits, as src/search/repository.ts makes it. */
const POST_BITS = 22;

interface Column {
  table: string;
  column: string;
  /** Whether the table gives it. */
  given: boolean;
}

/** As `multiply` of a SQLite file: adds so many copies of all rows, the words of posts included. */
export async function multiplyOnServer(url: string, copies: number): Promise<void> {
  const client = new pg.Client(url);
  await client.connect();
  try {
    await multiplyWith(client, copies);
  } finally {
    await client.end();
  }
}

async function multiplyWith(client: pg.Client, copies: number): Promise<void> {
  // The service has checked the references of the first rows.
  await client.query(`set session_replication_role = replica; set synchronous_commit = off; set work_mem = '1GB'`);
  const { rows } = await client.query<{ distance: number }>(
    'select (1 + max(last_value))::integer as distance from pg_sequences where schemaname = current_schema()',
  );
  const distance = rows[0]?.distance as number;
  for (const [table, columns] of await tablesOf(client)) {
    const { rowCount } = await client.query(`select from ${table} limit 1`);
    if (rowCount === 0) continue;
    await client.query(copyStatement(table, columns, distance), [copies]);
    for (const { column } of columns.filter(({ given }) => given)) {
      await client.query(
        `select setval(pg_get_serial_sequence('${table}', '${column}'), max(${column})) from ${table}`,
      );
    }
  }
  await countCopies(client, copies);
  // Nothing of the history waits for its subscriptions.
  await client.query('update subscriptions set position = (select max(sequence) from events)');
  await client.query('vacuum (analyze)');
  // What is still to be written to the disk would be written while the service is measured.
  await client.query('checkpoint');
}

async function tablesOf(client: pg.Client): Promise<Map<string, Column[]>> {
  const { rows } = await client.query<Column>(
    `select table_name as "table", column_name as "column", is_identity = 'YES' as given from information_schema.columns
     where table_schema = current_schema() and is_generated = 'NEVER' order by table_name, ordinal_position`,
  );
  return Map.groupBy(
    rows.filter(({ table }) => !kept.test(table)),
    ({ table }) => table,
  );
}

/** The rows that a statement adds are none of those that it copies. */
function copyStatement(table: string, columns: Column[], distance: number): string {
  const names = columns.map(({ column }) => column);
  const values = names.map(column => {
    if (column !== 'rowid') return valueIn(column, 'copy', distance);
    return `rowid + copy * ${distance}::bigint ${table === 'search_replies' ? `* ${2 ** POST_BITS}` : ''}`;
  });
  return `insert into ${table} (${names}) overriding system value
    select ${values} from ${table} cross join generate_series(1, $1::bigint) as copy order by copy, ${table}.ctid`;
}

/** What is counted as things change, and not read from them. */
async function countCopies(client: pg.Client, copies: number): Promise<void> {
  await client.query('update topics set sent = sent * $1::bigint', [copies + 1]);
  await client.query(`update counts set count = count * $1::bigint where not ${countedOfEach}`, [copies + 1]);
  await client.query(
    `insert into counts (subject, value, count, part) select subject, value || '-' || copy, count, part
     from counts cross join generate_series(1, $1::bigint) as copy where ${countedOfEach}`,
    [copies],
  );
}
