import { expect, it } from 'vitest';
import { scratchDatabase } from '../helpers/engines.ts';
import { forThisTest, startService } from '../helpers/process.ts';
import { signal } from '../helpers/signals.ts';
import { sqlBeside } from '../helpers/sql.ts';
import { conversation } from '../helpers/threads.ts';

/** Of an event that comes first, SQLite would look in every table for rows that wait for its thread. */
const refuse = `create trigger early before insert on events
  when new.thread_id is not null and not exists (select 1 from threads where thread_id = new.thread_id)
  begin select raise(abort, 'an event before its thread'); end`;

it('a new thread is stored before its first event', async () => {
  const { url } = await forThisTest(scratchDatabase('sqlite'));
  const service = await startService({ DATABASE_URL: url });
  await sqlBeside(url, refuse);
  const send = (method: string, path: string, body?: unknown) => service.send(method, path, body);
  const { thread_id } = await conversation(send).open();
  const asked = await send('POST', '/control-signals', signal('guidance_request'));
  expect(asked.status, JSON.stringify(asked.body)).toBe(201);
  const { items } = (await send('GET', '/events')).body;
  const opened = items.filter(({ event_type }: { event_type: string }) => event_type === 'forum.thread.opened');
  expect(opened.map((event: { thread_id: string }) => event.thread_id)).toEqual([
    thread_id,
    asked.body.thread.thread_id,
  ]);
});
