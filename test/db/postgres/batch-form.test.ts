import { describe, expect, it } from 'vitest';
import { formOf } from '../../../src/db/postgres/batch-form.ts';

/** Statements whose calls could meet, or could not be told apart. */
const SINGLE = {
  'without parameters': `select "topic" from "topics" where "paused" = 1 order by "topic"`,
  'that inserts several rows': `insert into "counts" ("subject", "count") values ($1, $2), ($3, $4)`,
  'that inserts several rows that it reads': `insert into "counts" ("subject", "count") values ((select $1), $2), ((select $3), $4)`,
  'that inserts what it reads': `insert into "counts" ("subject", "count") select "subject", 1 from "counts" where "value" = $1`,
  'whose key is computed': `insert into "counts" ("subject", "count") values (lower($1), $2) on conflict ("subject") do update set "count" = 1`,
  'that sums parameters up in a conflict': `insert into "counts" ("subject", "count") values ($1, $2) on conflict ("subject") do update set "count" = $3`,
  'that changes all rows': `update "topics" set "sent" = $1 where "paused" = 0`,
  'that changes rows by a range': `update "topics" set "sent" = $1 where "topic" < $2`,
  'that changes rows of a list': `update "topics" set "sent" = $1 where "topic" in ($2, $3)`,
  'that changes one row or the other': `update "topics" set "sent" = $1 where "topic" = $2 or "topic" = $3`,
  'that answers the rows it changes': `update "topics" set "sent" = $1 where "topic" = $2 returning *`,
  'that deletes': `delete from "topics" where "topic" = $1`,
  'that reads by a range': `select * from "topics" where "sent" > $1`,
  'that reads a list of keys and something else': `select * from "topics" where "topic" = any(array(select value from jsonb_array_elements_text($1::jsonb))) and "sent" > $2`,
  'that reads two tables': `select * from "topics" inner join "counts" on "value" = "topic" where "topic" = $1`,
  'with a part before it': `with found as (select 1) select * from "topics" where "topic" = $1`,
};

describe('calls of a statement', () => {
  it('that inserts a row with something that it looks up are sent together', () => {
    const inserts = `insert into "counts" ("subject", "count") values ((select topic from topics where sent = $1), $2)`;
    expect(formOf(inserts)?.text('called')).toBe(
      `insert into "counts" ("subject", "count") select (select topic from topics where sent = called.p1), called.p2 from called order by number`,
    );
  });

  it.each(Object.entries(SINGLE))('%s are sent one by one', (_, text) => {
    expect(formOf(text)).toBeUndefined();
  });

  it('that changes a row by its key meet only where all of the key is the same', () => {
    const changes = `update "runs" set "title" = $1, "version" = "version" + 1 where "run_id" = $2 and "status" = $3`;
    expect(formOf(changes)?.keys).toEqual([1, 2]);
    const adds = `insert into "counts" ("subject", "value", "count") values ($1, $2, $3) on conflict ("subject", "value") do update set "count" = "counts"."count" + "excluded"."count"`;
    expect(formOf(adds)?.keys).toEqual([0, 1]);
  });
});
