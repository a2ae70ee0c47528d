import { fresh } from './posts.ts';
import { sqlBeside } from './sql.ts';

/** Stores subscriptions as handlers that are gone left them: no process serves them. Answers the first name. */
export async function unserved(
  url: string,
  { names = [fresh()], topics = ['forum.events.**'], position = 0 } = {},
): Promise<string> {
  const rows = names.map(name => `('${name}', 'handler', '${JSON.stringify(topics)}', 'pass', ${position}, 0, 0)`);
  await sqlBeside(
    url,
    `insert into subscriptions (name, kind, topics, dead_policy, position, created_at, last_seen_at)
      values ${rows.join(', ')}`,
  );
  return names[0] as string;
}
