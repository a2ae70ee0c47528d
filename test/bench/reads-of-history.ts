import { sqlBeside } from '../helpers/sql.ts';
import type { Bench } from './bench.ts';
import { latency, overSocket } from './measure.ts';
import { beside, ms } from './report.ts';

/** The page that most callers ask for. */
const PAGE = 'limit=50';

/**
 * How much longer each read takes with a long history, in turns with a short one of some hundred signals.
 * @param urls of the databases
 * @param section begins the names of the figures
 */
export async function agedReads(
  { processes, report, rounds }: Bench,
  urls: Record<'aged' | 'short', string>,
  section: string,
): Promise<void> {
  const start = async (name: string, databaseUrl: string) => {
    const reads = await readsOf(databaseUrl);
    const env = { ROLE: 'http', RATE_LIMIT_PER_MINUTE: '0' };
    const service = await processes.service({ name, databaseUrl, env });
    return { reads, service, socket: overSocket(`http://127.0.0.1:${service.port}`) };
  };
  const [short, long] = [await start('(d) short', urls.short), await start('(d) history', urls.aged)];
  for (const name of Object.keys(short.reads) as (keyof Reads)[]) {
    const took: Record<'short' | 'long', number[]> = { short: [], long: [] };
    for (let round = 0; round < rounds; round += 1) {
      for (const [which, { reads, socket }] of Object.entries({ short, long })) {
        took[which as 'short' | 'long'].push((await latency(socket.get, reads[name])).p50);
      }
    }
    const comparison = beside('a short history', took.short, took.long, ms);
    report.row(`read: ${name}, p50`, ms(took.long), [comparison]);
    report.record(`${section}read ${name}.p50`, took.long, 'ms');
    report.record(`${section}read ${name}.by a short history`, comparison.ratios, '');
  }
  for (const { socket, service } of [short, long]) {
    socket.close();
    await processes.stop(service);
  }
}

type Reads = Awaited<ReturnType<typeof readsOf>>;

/** Addresses by name, with values that the database has. */
async function readsOf(url: string) {
  const [thread = {}] = await sqlBeside(
    url,
    'select run_id, agent_name, thread_id from threads where run_id is not null order by place limit 1',
  );
  const { run_id, agent_name, thread_id } = thread as Record<'run_id' | 'agent_name' | 'thread_id', string>;
  const newest = Number((await sqlBeside(url, 'select max(sequence) as newest from events'))[0]?.newest);
  const [run, agent] = [encodeURIComponent(run_id), encodeURIComponent(agent_name)];
  return {
    'open questions': `/questions?state=open&${PAGE}`,
    threads: `/threads?${PAGE}`,
    'unanswered threads': `/threads?queue=unanswered&${PAGE}`,
    'search for a common word': `/threads?q=control&${PAGE}`,
    'a control state': `/control-threads/${run}/${agent}`,
    'the run of an agent': `/runs/${run}`,
    'posts of a thread': `/threads/${encodeURIComponent(thread_id)}/posts?${PAGE}`,
    'the newest events': `/events?after=${Math.max(0, newest - 50)}&${PAGE}`,
    'events of a run': `/events?run_id=${run}&${PAGE}`,
    'the page of counts': '/stats',
  };
}
