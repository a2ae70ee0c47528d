import { expect, it, onTestFinished } from 'vitest';
import { startApp } from '../helpers/app.ts';
import { ownLists } from '../helpers/lists.ts';
import { sqlBeside } from '../helpers/sql.ts';
import { conversation } from '../helpers/threads.ts';

// Processes that open threads at the same time may number them in another order than that of their sequences.
it('a walk through found replies has each thread once, whatever the order of the numbers', async () => {
  const service = await startApp('postgres');
  onTestFinished(() => service.close());
  const { open, post } = conversation((...request) => service.send(...request));
  const { walk } = ownLists((...request) => service.send(...request));
  const threads: string[] = [];
  for (let n = 0; n < 6; n += 1) threads.push((await open({ title: 'Tree', body: 'Which?' })).thread_id);
  for (const thread of threads) await post(thread, { body: 'Larch' });
  const rows = await sqlBeside(service.url, 'select number, opened_sequence from search_threads order by number');
  const sequences = rows.map(row => Number(row.opened_sequence));
  // Pairs change places, at both ends of the log, too. What they say is the same.
  const swapped = sequences.map((_, index) => sequences[index % 2 === 0 ? index + 1 : index - 1]);
  await sqlBeside(service.url, 'update search_threads set opened_sequence = -opened_sequence');
  for (const [index, { number }] of rows.entries()) {
    await sqlBeside(
      service.url,
      `update search_threads set opened_sequence = ${swapped[index]} where number = ${number}`,
    );
  }
  for (const limit of [1, 2, 3, 200]) {
    const found = (await walk('/threads?q=larch', limit)).flat().map(thread => thread.thread_id);
    expect(found.toSorted()).toEqual(threads.toSorted());
  }
});
