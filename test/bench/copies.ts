import BetterSqlite from 'better-sqlite3';

/** Copies that share a transaction. */
const AT_ONCE = 50;

/** Numbers from the sequence of events or the positions of messages; 0 and null stand for none. */
const numbers = /^(sequence|position|\w+_sequence|last_agent_post|last_human_post|last_answered)$/;
/** Ids of what belongs to one history, and of what refers to it. */
const ids =
  /^(\w*(thread|run|event|message|question|correlation|causation|signal)_id|message_key|supersedes|ticket|first_ticket)$/;
/** Tables that do not hold history. */
const kept = /^(sqlite_|kysely_|search_(?!threads$)|subscription|(counts|topics|lease_clock|link_secrets|push_keys)$)/;

/** The words of a text; `post` is the number of a reply. */
export interface Words {
  table: string;
  opened_sequence: number;
  post?: number;
  words: string;
}

/** Adds so many copies of all rows, each with ids and sequences of its own. */
export function multiply(db: BetterSqlite.Database, copies: number, words: Words[]): void {
  for (const pragma of ['journal_mode = OFF', 'synchronous = OFF', 'foreign_keys = OFF', 'cache_size = -500000']) {
    db.pragma(pragma);
  }
  const step = db.prepare(
    'select 1 + max(m) from (select max(sequence) as m from events union select max(position) from deliveries)',
  );
  const distance = step.pluck().get() as number;
  const statements = tablesOf(db).map(table => copyStatement(db, table, distance));
  const indexes = new Map([...new Set(words.map(({ table }) => table))].map(table => [table, insertWords(db, table)]));
  const copyOnce = (copy: number) => {
    for (const statement of statements) statement.run({ copy });
    for (const { table, opened_sequence, post, words: text } of words) {
      const thread = opened_sequence + copy * distance;
      indexes.get(table)?.run(...(post === undefined ? [thread] : [post, thread]), text);
    }
  };
  for (let from = 1; from <= copies; from += AT_ONCE) {
    db.transaction(() => {
      for (let copy = from; copy < from + AT_ONCE && copy <= copies; copy += 1) copyOnce(copy);
    })();
  }
  countCopies(db, copies);
  // Nothing of the history waits for its subscriptions.
  db.exec('update subscriptions set position = (select max(sequence) from events)');
}

/** Ordinary tables that have rows. */
function tablesOf(db: BetterSqlite.Database): string[] {
  const names = db
    .prepare(`select name from sqlite_schema where type = 'table' order by name`)
    .pluck()
    .all() as string[];
  return names.filter(name => !kept.test(name) && db.prepare(`select 1 from ${name} limit 1`).get() !== undefined);
}

/** Copies the rows of a table as they were in the beginning, with its parameter telling the copies apart. */
function copyStatement(db: BetterSqlite.Database, table: string, distance: number): BetterSqlite.Statement {
  const first = `temp.first_${table}`;
  db.exec(`create table ${first} as select * from ${table} order by rowid`);
  const columns = (db.pragma(`table_info(${table})`) as { name: string }[]).map(({ name }) => name);
  const values = columns.map(column => {
    if (numbers.test(column)) return `iif(${column} > 0, ${column} + :copy * ${distance}, ${column})`;
    if (ids.test(column)) return `${column} || '-' || cast(:copy as integer)`;
    // Given by the table.
    if (column === 'number') return 'null';
    return column === 'place' ? `place - :copy * ${distance}` : column;
  });
  return db.prepare(`insert into ${table} (${columns}) select ${values} from ${first} where :copy > 0`);
}

function insertWords(db: BetterSqlite.Database, table: string): BetterSqlite.Statement {
  // As src/search/repository.ts makes the row ids of replies.
  const rowid =
    table === 'search_replies' ? '(select (number << 22) + ? from search_threads where opened_sequence = ?)' : '?';
  return db.prepare(`insert into ${table} (rowid, words) values (${rowid}, ?)`);
}

/** What is counted as things change, and not read from them. */
function countCopies(db: BetterSqlite.Database, copies: number): void {
  db.prepare(`update topics set sent = sent * ?`).run(copies + 1);
  db.exec(`create table temp.first_counts as select * from counts where subject in ('thread_run', 'thread_ticket')`);
  db.prepare(`update counts set count = count * ? where subject not in ('thread_run', 'thread_ticket')`).run(
    copies + 1,
  );
  const copy = db.prepare(
    `insert into counts (subject, value, count) select subject, value || '-' || cast(? as integer), count from temp.first_counts`,
  );
  db.transaction(() => {
    for (let number = 1; number <= copies; number += 1) copy.run(number);
  })();
}

/** How much there is, in words. */
export function copiesOf(file: string): string {
  const db = new BetterSqlite(file, { readonly: true });
  const count = (table: string) =>
    (db.prepare(`select count(*) from ${table}`).pluck().get() as number).toLocaleString('en');
  const said = `${count('events')} events, ${count('deliveries')} deliveries, ${count('threads')} threads`;
  db.close();
  return said;
}
