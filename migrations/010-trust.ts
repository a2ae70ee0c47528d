import { sql } from 'kysely';
import type { Migration } from './migration.ts';

/** Which token caused each event, when a token was last used, and agents that are withdrawn from their runs. */
export const trust: Migration = async (db, engine) => {
  const sqlite = engine === 'sqlite';
  const int = sqlite ? 'integer' : 'bigint';
  const text = sqlite ? 'text' : 'text collate "C"';
  const backslash = sqlite ? 'char(92)' : 'chr(92)';
  const escaped = (column: string) => `${column} = replace(${column}, ${backslash}, ${backslash} || ${backslash})`;

  const statements = [
    // validates: pattern of the agents outside of its binding whose work an agent's token may validate; null: none.
    // last_used_at: the latest use, at most a minute and a few seconds old; null before the first.
    `alter table tokens add column validates ${text} check (validates is null or role = 'agent')`,
    `alter table tokens add column last_used_at ${int}`,
    // A backslash in a pattern now escapes the next character. It stood for itself before.
    `update tokens set ${escaped('runs')}, ${escaped('agents')} where role = 'agent'`,

    // token_id: the token of the request that caused the event or published the message; null for the service itself
    // and for requests without a token.
    `alter table events add column token_id ${text}`,
    `alter table outbox add column token_id ${text}`,

    // withdrawn_at: when an operator took the agent out of its run; null for all others. The gate does not count it.
    `alter table control_threads add column withdrawn_at ${int}`,
    `create index control_threads_withdrawn on control_threads (run_id, agent_name) where withdrawn_at is not null`,
  ];
  for (const statement of statements) await sql.raw(statement).execute(db);
};
