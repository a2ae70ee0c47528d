import { expect, it } from 'vitest';
import { engines, scratchDatabase } from '../helpers/engines.ts';
import { forThisTest, startService } from '../helpers/process.ts';
import { sqlBeside } from '../helpers/sql.ts';
import { openStream } from '../helpers/stream.ts';

const READERS = 8;
const EVENTS = 40;
const SIZE = 1_000_000;
/** Many times what the readers can be handed at once, and less than all of them could ask for. */
const NODE_OPTIONS = '--max-old-space-size=256';

it.each(engines)(
  `${READERS} readers that come back to ${EVENTS} events of a megabyte do not fill the memory, on %s`,
  // A read that takes longer than a statement may, on a machine busy with other tests, ends the streams. Memory that fills
  // would end the process both times.
  { timeout: 120_000, retry: 1 },
  async engine => {
    const { url: DATABASE_URL } = await forThisTest(scratchDatabase(engine));
    const service = await startService({ DATABASE_URL, NODE_OPTIONS });
    await sqlBeside(
      DATABASE_URL,
      `with recursive made(number) as (select 1 union all select number + 1 from made where number < ${EVENTS})
       insert into events (event_id, event_type, event_version, occurred_at, actor, correlation_id, payload)
       select 'evt_' || number, 'forum.post.added', 1, number, 'human:ana', 'none', '{"text":"${'x'.repeat(SIZE)}"}'
       from made`,
    );
    const origin = await service.listening();
    const streams = await Promise.all(Array.from({ length: READERS }, () => openStream(origin)));
    const seen = await Promise.all(streams.map(stream => stream.sequences(EVENTS)));
    expect(seen).toEqual(streams.map(() => Array.from({ length: EVENTS }, (_, index) => index + 1)));
  },
);
