import { fresh } from './posts.ts';
import { sqlBeside } from './sql.ts';

/** Stores a subscription as a handler that is gone left it: no process serves it. Answers its name. */
export async function unserved(url: string, { topics = ['forum.events.**'], position = 0 } = {}): Promise<string> {
  const name = fresh();
  await sqlBeside(
    url,
    `insert into subscriptions (name, kind, topics, dead_policy, position, created_at, last_seen_at)
      values ('${name}', 'handler', '${JSON.stringify(topics)}', 'pass', ${position}, 0, 0)`,
  );
  return name;
}
