import { sql } from 'kysely';
import type { Migration } from './migration.ts';

/**
 * Processes write different runs at the same time. Those of the version before do not know how far the log may be read
 * then. So they must have ended.
 */
export const sideBySide: Migration = async (db, engine) => {
  // part: counts that every signal changes are kept in parts, so that transactions do not wait for each other. A count is the
  // sum of its parts, each of which may be negative. All other counts have the part 0 only.
  const statements =
    engine === 'sqlite'
      ? [
          `create table counts_in_parts (
            subject text not null,
            value text not null,
            part integer not null default 0,
            count integer not null,
            primary key (subject, value, part)
          ) strict`,
          'insert into counts_in_parts (subject, value, count) select subject, value, count from counts',
          'drop table counts',
          'alter table counts_in_parts rename to counts',
          `create index counts_largest on counts (subject, count) where subject in ('thread_ticket', 'thread_run')`,
        ]
      : [
          'alter table counts add column part bigint not null default 0',
          'alter table counts drop constraint counts_pkey',
          'alter table counts add primary key (subject, value, part)',
        ];
  for (const statement of statements) await sql.raw(statement).execute(db);
};
