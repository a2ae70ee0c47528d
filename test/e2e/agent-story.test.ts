import { join } from 'node:path';
import { Command, END, interrupt, MemorySaver, START, StateGraph, StateSchema } from '@langchain/langgraph';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { answerInterrupts } from '../../src/adapters/langgraph.ts';
import { Forumbus } from '../../src/client/index.ts';
import { spawnCli } from '../helpers/cli.ts';
import { forThisTest, startService } from '../helpers/process.ts';
import { scratchFolder } from '../helpers/scratch.ts';

/*
 * The whole story of an agent, through each of its surfaces: it asks, is told something unasked, gets its answer, completes,
 * is validated, and the gate opens. The operator is the same each time, and so is the end.
 */

const question = 'Which region?';
const options = ['eu-west-1', 'us-east-1'];
const criteria = 'Tests are green.';
const message = 'The freeze begins at noon.';

/** What the agent has heard on its way. */
interface Heard {
  answer: string | null;
  news: string;
}

/** Speaks first and answers then; the agent reports completion only with both. */
async function operate(operator: Forumbus, send: Send, run_id: string): Promise<void> {
  const open = async () => (await operator.questions({ run_id, state: 'open' })).items;
  // A process of the command line takes seconds to start.
  await expect.poll(open, { timeout: 60_000 }).toHaveLength(1);
  const [asked] = await open();
  const post = { body: message, actor: { type: 'operator', name: 'ana' } };
  expect((await send('POST', `/threads/${asked?.thread_id}/posts`, post)).status).toBe(201);
  expect(await operator.gate(run_id)).toMatchObject({ ready: false });
  await operator.answer(asked?.question_id as string, { selected: ['eu-west-1'] });
}

type Send = Awaited<ReturnType<typeof startService>>['send'];
type Surface = (place: { url: string; run_id: string; folder: string }) => Promise<Heard>;

const clientOf = ({ url, run_id }: { url: string; run_id: string }) =>
  new Forumbus({ url, run_id, agent_name: 'builder' });

/** Reads the agent's news by the library, as an agent of a framework does. */
async function newsOf(agent: Forumbus): Promise<string> {
  await agent.inbox.list({ wait_seconds: 20 });
  const items = await agent.inbox.claim({ claimant: 'story', lease_seconds: 60, limit: 20 });
  await agent.inbox.acknowledge(items.map(({ item_id }) => item_id));
  return items.flatMap(({ post }) => post?.body ?? []).join();
}

async function report(agent: Forumbus): Promise<void> {
  await agent.signal.completion({ summary: 'Deployed.', evidence: [{ kind: 'commit', ref: '4f2a91c' }] });
  await agent.signal.validation({ status: 'passed', done_criteria: criteria });
}

const surfaces: Record<string, Surface> = {
  async 'bash and the command line'({ url, run_id, folder }) {
    const env = {
      FORUMBUS_URL: url,
      FORUMBUS_RUN: run_id,
      FORUMBUS_AGENT: 'builder',
      XDG_STATE_HOME: join(folder, 'state'),
    };
    const script = `set -e
      answer=$("$@" ask "${question}" -o ${options.join(' -o ')} --wait 60s)
      news=$("$@" inbox --wait 20s)
      "$@" complete "Deployed." --evidence commit:4f2a91c > /dev/null
      "$@" validate passed --criteria "${criteria}" > /dev/null
      "$@" gate > /dev/null
      printf '%s\\n%s' "$answer" "$news"`;
    // Bash takes an end of a socket as stdin for a remote shell, and then reads the machine's own start-up file.
    const program = [
      'bash',
      '--norc',
      '-c',
      script,
      'bash',
      process.execPath,
      join(import.meta.dirname, '../../src/cli/main.ts'),
    ];
    const { code, out, err } = await spawnCli([], { env, cwd: folder }, program).ended;
    expect({ code, err }).toEqual({ code: 0, err: '' });
    const [answer = null, news = ''] = out.split('\n');
    return { answer, news };
  },

  async 'the client library'(place) {
    const agent = clientOf(place);
    const { answer } = await agent.ask({ question, options });
    const news = await newsOf(agent);
    await report(agent);
    return { answer, news };
  },

  async 'the adapter of LangGraph'(place) {
    const agent = clientOf(place);
    const graph = new StateGraph(new StateSchema({ answer: z.string().optional() }))
      .addNode('ask', () => ({ answer: interrupt({ question, options }) as string }))
      .addEdge(START, 'ask')
      .addEdge('ask', END)
      .compile({ checkpointer: new MemorySaver() });
    const thread = { configurable: { thread_id: place.run_id } };
    await graph.invoke({}, thread);
    const interrupts = (await graph.getState(thread)).tasks.flatMap(task => task.interrupts);
    const { answer = null } = await graph.invoke(
      new Command({ resume: await answerInterrupts(agent, interrupts) }),
      thread,
    );
    const news = await newsOf(agent);
    await report(agent);
    return { answer, news };
  },
};

describe('an agent goes its whole way', () => {
  it.each(Object.entries(surfaces))('by %s', async (name, surface) => {
    const { path: folder } = await forThisTest(scratchFolder());
    const service = await startService({ DATABASE_URL: `sqlite:${join(folder, 'forumbus.db')}` });
    const url = await service.listening();
    const run_id = `run of ${name}`;
    const send: Send = (...args) => service.send(...args);
    const brief = { title: 'Deploy', done_criteria: criteria, agents: ['builder'] };
    const briefed = await send('PUT', `/runs/${encodeURIComponent(run_id)}`, brief);
    expect(briefed.status, JSON.stringify(briefed.body)).toBeLessThan(300);
    const operator = new Forumbus({ url });
    const [heard] = await Promise.all([surface({ url, run_id, folder }), operate(operator, send, run_id)]);
    expect(heard).toEqual({ answer: 'eu-west-1', news: expect.stringContaining(message) });
    const { items } = await operator.questions({ run_id });
    expect(items).toMatchObject([{ state: 'answered', acknowledged_at: expect.any(String) }]);
    // Nothing is told twice.
    expect((await new Forumbus({ url, run_id, agent_name: 'builder' }).inbox.list()).items).toEqual([]);
    expect(await operator.gate(run_id, { wait_seconds: 5 })).toMatchObject({ ready: true });
    expect(await operator.close(run_id)).toMatchObject({ status: 'closed' });
  });
});
