import { endWithParent } from './child.ts';
import { WaitingAgents } from './waiting-agents.ts';

/*
 * A process of waiting agents. Arguments: the service's URL, the number of the first agent, how many there are, the limit of
 * their waits in seconds. It says when all have asked. It is told another limit, or asked for its figures.
 */

endWithParent();
// It stays for its figures.
process.channel?.ref();
const [url = '', from, count, limit] = process.argv.slice(2);
const agents = new WaitingAgents({ url, run_id: 'bench', from: Number(from), count: Number(count) });
agents.limit = Number(limit);
await agents.ask();
process.on('message', (message: { limit?: number }) => {
  if (message.limit !== undefined) agents.limit = message.limit;
  process.send?.(agents.figures);
});
const waiting = agents.wait();
process.send?.('asked');
await waiting;
