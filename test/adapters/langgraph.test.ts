import { Annotation, Command, interrupt, isInterrupted, MemorySaver, StateGraph } from '@langchain/langgraph';
import { expect, it, onTestFinished } from 'vitest';
import { answerInterrupts } from '../../src/adapters/langgraph.ts';
import type { Asking } from '../../src/adapters/question.ts';
import { Forumbus } from '../../src/client/index.ts';
import { meeting, survivor } from '../helpers/adapters.ts';
import { startApp } from '../helpers/app.ts';
import { ManualClock } from '../helpers/clock.ts';
import { listen } from '../helpers/socket.ts';

const place = meeting();

const State = Annotation.Root({
  said: Annotation<unknown[]>({ reducer: (all, more) => [...all, ...more], default: () => [] }),
});
const thread = { configurable: { thread_id: 'thread-1' } };

/** A graph whose nodes run side by side, each of which says what its interrupts were resumed with. */
function graphOf(...nodes: unknown[][]) {
  const graph = new StateGraph(State);
  for (const [index, values] of nodes.entries()) {
    const name = `node-${index}`;
    graph.addNode(name, () => ({ said: values.map(value => interrupt(value)) }));
    graph.addEdge('__start__', name as '__start__');
  }
  return graph.compile({ checkpointer: new MemorySaver() });
}

/** Runs a graph to its end, as docs/adapters.md shows. */
async function run(graph: ReturnType<typeof graphOf>, asking: Asking = {}): Promise<unknown[]> {
  const client = place.agent();
  let state: unknown = await graph.invoke({ said: [] }, thread);
  while (isInterrupted(state)) {
    const resume = await answerInterrupts(client, state.__interrupt__, asking);
    state = await graph.invoke(new Command({ resume }), thread);
  }
  return (state as { said: unknown[] }).said;
}

it('resumes with the answer that somebody gives elsewhere', async () => {
  const running = run(graphOf([{ question: 'Which region?', options: ['eu-west-1', 'us-east-1'] }]));
  await place.answer('Which region?', { selected: ['eu-west-1'] });
  expect(await running).toEqual(['eu-west-1']);
  expect(await place.questions()).toMatchObject([
    { state: 'answered', source: { host: 'langgraph' }, acknowledged_at: expect.any(String) },
  ]);
});

it('asks for each interrupt, side by side and one after the other, also with the same text', async () => {
  const running = run(graphOf(['How many?', 'How many?'], [{ amount: 3 }]));
  await place.answer('How does the graph go on?', { answer: 'Go on.' });
  await place.answer('How many?', { answer: 'One.' });
  await place.answer('How many?', { answer: 'Two.' });
  expect(await running).toEqual(['One.', 'Two.', 'Go on.']);
  expect(await place.questions()).toMatchObject([{}, {}, {}]);
});

it('resumes with the default of a question that expires, or with null', async () => {
  const short = { expires_in_seconds: 1 };
  const expired = { question: 'Which zone?', options: ['a', 'b'], default_selected: ['b'], ...short };
  expect(await run(graphOf([expired]))).toEqual(['b']);
  expect(await run(graphOf(['Which wall?']), short)).toEqual([null]);
  const running = run(graphOf(['Which floor?']));
  await place.person.cancel((await place.asked('Which floor?')).question_id);
  expect(await running).toEqual([null]);
});

it('decides on the tool calls of the human-in-the-loop middleware', async () => {
  const actionRequests = [
    { name: 'deploy', args: { target: 'staging' }, description: 'Deploy to staging?' },
    { name: 'deploy', args: { target: 'production' }, description: 'Deploy to production?' },
  ];
  const running = run(graphOf([{ actionRequests, reviewConfigs: [] }]));
  await place.answer('Deploy to staging?', { selected: ['Allow'] });
  await place.answer('Deploy to production?', { answer: 'Not yet.' });
  const decisions = [{ type: 'approve' }, { type: 'reject', message: 'Not yet.' }];
  expect(await running).toEqual([{ decisions }]);
});

it('leaves out what is open, and finds it later', async () => {
  const interrupts = [
    { id: 'one', value: 'Which region?' },
    { id: 'other', value: 'Which zone?' },
  ];
  expect(await answerInterrupts(place.agent(), interrupts, { wait_seconds: 0 })).toEqual({});
  await place.answer('Which zone?', { answer: 'b' });
  expect(await answerInterrupts(place.agent(), interrupts, { wait_seconds: 0 })).toEqual({ other: 'b' });
  expect(await place.questions()).toHaveLength(2);
});

it('finds its questions however long a person takes, each by its interrupt', async () => {
  const clock = new ManualClock();
  const later = await startApp('sqlite', { overrides: { clock } });
  onTestFinished(later.close);
  const url = `http://127.0.0.1:${await listen(later.app)}`;
  const client = new Forumbus({ url, run_id: 'run-1', agent_name: 'builder' });
  const interrupts = [
    { id: 'one', value: 'How many?' },
    { id: 'other', value: 'How many?' },
  ];
  const ask = () => answerInterrupts(client, interrupts, { wait_seconds: 0 });
  await ask();
  clock.advance(25 * 3_600_000);
  expect(await ask()).toEqual({});
  const { items } = await client.questions();
  expect(items).toHaveLength(2);
  for (const { question_id, source } of items) await client.answer(question_id, { answer: `${source?.tool_use_id}.` });
  clock.advance(25 * 3_600_000);
  expect(await ask()).toEqual({ one: 'one.', other: 'other.' });
});

it('survives kills between questions and answers, and asks each once', async () => {
  const start = await survivor('langgraph', place);
  const first = start();
  await place.asked('Which region?');
  await first.kill();
  const second = start();
  await place.answer('Which region?', { answer: 'One.' });
  await place.asked('Which region?');
  await second.kill();
  await place.answer('Which region?', { answer: 'Two.' });
  expect(await start().output).toEqual(['One.', 'Two.']);
  expect(await place.questions()).toHaveLength(2);
});
