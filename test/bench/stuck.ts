import { sqlBeside } from '../helpers/sql.ts';
import { STUCK } from './child.ts';

/** Copies the last message on the topic of those that fail, and its delivery, while no service runs. */
export async function copyStuck(url: string, count: number): Promise<void> {
  const on = (statement: string) => sqlBeside(url, statement);
  const given = url.startsWith('sqlite:') ? '' : 'overriding system value';
  for (const [table, key, values] of [
    ['messages', 'number', { number: 'number + copy', message_id: `message_id || '-' || copy` }],
    ['deliveries', 'position', { position: 'position + copy', message_number: 'message_number + copy' }],
  ] as const) {
    const last = `select * from ${table} where topic = '${STUCK}' order by ${key} desc limit 1`;
    const columns = Object.keys((await on(last))[0] ?? {});
    const copied = columns.map(column => (values as Record<string, string>)[column] ?? column);
    await on(`with recursive copies (copy) as (select 1 union all select copy + 1 from copies where copy < ${count})
      insert into ${table} (${columns}) ${given} select ${copied} from (${last}) as last cross join copies where true`);
    if (given !== '')
      await on(`select setval(pg_get_serial_sequence('${table}', '${key}'), max(${key})) from ${table}`);
  }
}

export async function removeStuck(url: string): Promise<void> {
  for (const table of ['deliveries', 'messages']) await sqlBeside(url, `delete from ${table} where topic = '${STUCK}'`);
  if (!url.startsWith('sqlite:')) await sqlBeside(url, 'vacuum (analyze) deliveries, messages');
}
