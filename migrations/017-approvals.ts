import { sql } from 'kysely';
import type { Migration } from './migration.ts';

/**
 * Questions that two people must answer. No process of the version before may run beside this one: it would take the
 * first person's answer for the answer.
 */
export const approvals: Migration = async (db, engine) => {
  const sqlite = engine === 'sqlite';
  const int = sqlite ? 'integer' : 'bigint';
  const text = sqlite ? 'text' : 'text collate "C"';
  const strict = sqlite ? 'strict' : '';

  const statements = [
    // approvals_required: how many people must give the same answer, 1 or 2.
    `alter table questions add column approvals_required ${int} not null default 1`,

    // The answers of people to such questions, one of each person: a newer one replaces it. Questions for one person have
    // none. person: the folded name, by which people are told apart. actor: `type:name`. answer, selected, answered_in: as in
    // questions. sequence: the event of the answer's signal. approved_at: when it was given.
    `create table question_approvals (
      question_id ${text} not null references questions,
      person ${text} not null,
      actor ${text} not null,
      answer ${text} not null,
      selected ${text} not null,
      answered_in ${text} not null,
      sequence ${int} not null,
      approved_at ${int} not null,
      primary key (question_id, person)
    ) ${strict}`,
  ];
  for (const statement of statements) await sql.raw(statement).execute(db);
};
