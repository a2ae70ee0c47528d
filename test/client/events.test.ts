import { describe, expect, it, onTestFinished } from 'vitest';
import { Forumbus } from '../../src/client/index.ts';
import { startApp } from '../helpers/app.ts';
import { startRelay } from '../helpers/relay.ts';
import { listen } from '../helpers/socket.ts';

async function started() {
  const service = await startApp('sqlite');
  onTestFinished(service.close);
  const network = await startRelay(await listen(service.app));
  const agent = new Forumbus({ url: network.url, run_id: 'run-1', agent_name: 'builder' });
  return { network, agent, note: (text: string) => agent.signal.completion({ summary: text }) };
}

describe('events', () => {
  it('yields each one once and in order, also when connections are cut', async () => {
    const { network, agent, note } = await started();
    await note('0');
    const sequences: number[] = [];
    for await (const event of agent.events()) {
      sequences.push(event.sequence);
      if (sequences.length % 4 === 0) network.cut();
      if (sequences.length > 20) break;
      void note(String(event.sequence)).catch(() => {});
    }
    expect(sequences).toEqual(sequences.map((_, index) => index + 1));
  });

  it('begins after a sequence, keeps to its filter, and ends quietly at the abort', async () => {
    const { agent, note } = await started();
    await note('1');
    await note('2');
    const ending = new AbortController();
    const types: string[] = [];
    for await (const { event_type } of agent.events({
      after: 2,
      event_type: 'forum.control.signal',
      signal: ending.signal,
    })) {
      types.push(event_type);
      ending.abort();
    }
    expect(types).toEqual(['forum.control.signal']);
    for await (const event of agent.events({ signal: ending.signal })) expect(event).toBeUndefined();
  });

  it('throws a refusal that stays', async () => {
    const { agent } = await started();
    await expect(agent.events({ after: -1 }).next()).rejects.toMatchObject({ code: 'VALIDATION_FAILED', status: 400 });
  });
});
