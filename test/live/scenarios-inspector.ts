import { isDeepStrictEqual } from 'node:util';
import { type Args, http, Inspected, type Outcome, stdio } from './inspected.ts';
import type { Scenario, Stage } from './stage.ts';

const AGENT = 'inspector';
/** No question has this id. */
const UNKNOWN = 'q_00000000000070008000000000000000';
const noQuestion = { text: `There is no question ${UNKNOWN} (QUESTION_NOT_FOUND).` };
const region: Args = { question: 'Which region?', options: ['eu-west-1', 'us-east-1'] };

/** An agent and the assistant of a person, both played by the inspector. */
interface Cast {
  agent: Inspected;
  person: Inspected;
  /** The name that answers carry. */
  by: string;
}

/** Does what an agent and a person do in a run, and checks that no tool of theirs is left out. */
async function wholeRun({ run_id }: Stage, { agent, person, by }: Cast): Promise<void> {
  const first = await asked(agent, region);
  includes(await person.call('inbox', { run: run_id }), [
    `${first} ${AGENT} in ${run_id}, `,
    ' ago: Which region?\n  Options: eu-west-1 | us-east-1',
  ]);
  includes(await agent.call('status'), [
    `${AGENT} in ${run_id}: awaiting_guidance, attempt 1.\nOpen questions: 1\n- ${first} (`,
    `Gate: blocked. ${AGENT} waits for an answer to ${first}.`,
  ]);

  // The same question again waits for its answer.
  const [held, given] = await Promise.all([
    agent.call('ask', { ...region, wait_seconds: 40 }),
    person.call('answer', { question_id: first, selected: ['eu-west-1'] }),
  ]);
  const answered = { text: `Answered by ${by}: eu-west-1`, question: { question_id: first, state: 'answered' } };
  is(held, answered);
  is(given, { text: `Answered; ${AGENT} in ${run_id} gets it.` });
  is(await agent.call('wait', { question_id: first, wait_seconds: 0 }), answered);
  is(await person.call('inbox', { run: run_id }), { text: 'No open questions.' });

  // The first answer has been told, so it is no news.
  const second = await asked(agent, { question: 'Which day?' });
  await person.call('answer', { question_id: second, answer: 'On Monday.' });
  is(await agent.call('wait'), { text: `${second} (Which day?): Answered by ${by}: On Monday.` });

  const evidence = ['commit:4f1c2ab', 'test_report:reports/unit.xml'];
  is(await agent.call('signal', { type: 'completion', summary: 'It is deployed.', evidence }), {
    text: `Recorded. Gate: blocked. The work of ${AGENT} has not been validated.`,
  });
  is(await agent.call('signal', { type: 'validation', status: 'passed', done_criteria: 'It answers.' }), {
    text: 'Recorded. Gate: ready.',
  });

  await Promise.all([agent.assertAllCalled(), person.assertAllCalled()]);
}

/** Asks without waiting. @returns the id of the question */
async function asked(agent: Inspected, args: Args): Promise<string> {
  const outcome = await agent.call('ask', { ...args, wait_seconds: 0 });
  const id = outcome.question?.question_id ?? '';
  includes(outcome, [`Pending: nobody has answered ${id} yet`]);
  if (outcome.question?.state !== 'open') throw new Error(`The question is not open: ${JSON.stringify(outcome)}`);
  return id;
}

function is(found: Outcome, expected: Outcome): void {
  if (isDeepStrictEqual(found, expected)) return;
  throw new Error(`The tool says ${JSON.stringify(found)}, not ${JSON.stringify(expected)}.`);
}

function includes({ text }: Outcome, parts: string[]): void {
  const missing = parts.filter(part => !text.includes(part));
  if (missing.length > 0) throw new Error(`The tool says "${text}" without "${missing.join('" and "')}".`);
}

/** Starts a service with tokens. @returns how it is reached without one, and the tokens */
async function guarded(stage: Stage) {
  const service = await stage.guarded();
  const person = service.token('--role', 'operator', '--actor', 'human:ana');
  const agent = service.token('--role', 'agent', '--runs', stage.run_id, '--agents', AGENT);
  return { url: service.url, person, agent };
}

export const inspectorScenarios: Scenario[] = [
  {
    name: 'http',
    shows: 'every tool of agents and of people over HTTP, with the handshake of 2025',
    run: stage =>
      wholeRun(stage, {
        agent: new Inspected(stage, http(stage.mcpUrl), 'legacy'),
        person: new Inspected(stage, http(`${stage.url}/mcp`), 'legacy'),
        by: 'operator',
      }),
  },
  {
    name: 'http-2026',
    shows: 'the same in revision 2026-07-28',
    run: stage =>
      wholeRun(stage, {
        agent: new Inspected(stage, http(stage.mcpUrl), 'modern'),
        person: new Inspected(stage, http(`${stage.url}/mcp`), 'modern'),
        by: 'operator',
      }),
  },
  {
    name: 'http-tokens',
    shows: 'the same with tokens, which name the agent and the person; without one, nothing is listed',
    async run(stage) {
      const { url, agent, person } = await guarded(stage);
      const stranger = await new Inspected(stage, http(`${url}/mcp`), 'legacy').fault('tools/list');
      if (!stranger.includes('UNAUTHORIZED')) throw new Error(`Without a token, the inspector says ${stranger}.`);
      await wholeRun(stage, {
        agent: new Inspected(stage, http(`${url}/mcp`, agent), 'modern'),
        person: new Inspected(stage, http(`${url}/mcp`, person), 'modern'),
        by: 'ana',
      });
    },
  },
  {
    name: 'stdio',
    shows: 'every tool of agents by `forumbus mcp`; the person answers over HTTP',
    run: stage =>
      wholeRun(stage, {
        agent: new Inspected(stage, stdio({ FORUMBUS_AGENT: AGENT }), 'legacy'),
        person: new Inspected(stage, http(`${stage.url}/mcp`), 'legacy'),
        by: 'operator',
      }),
  },
  {
    name: 'stdio-tokens',
    shows: 'every tool of both by `forumbus mcp`, with tokens, in revision 2026-07-28',
    async run(stage) {
      const { url, agent, person } = await guarded(stage);
      await wholeRun(stage, {
        agent: new Inspected(stage, stdio({ FORUMBUS_URL: url, FORUMBUS_TOKEN: agent }), 'modern'),
        person: new Inspected(stage, stdio({ FORUMBUS_URL: url, FORUMBUS_TOKEN: person }), 'modern'),
        by: 'ana',
      });
    },
  },
  {
    name: 'refused',
    shows: 'a refused call is a result with one sentence, and the server goes on',
    async run(stage) {
      for (const agent of agentsOf(stage)) {
        is(await agent.refused('ask', { ...region, colour: 'blue' }), {
          text: 'colour: is not a known field (VALIDATION_FAILED).',
        });
        is(await agent.refused('wait', { question_id: UNKNOWN }), noQuestion);
        includes(await agent.call('status'), ['no signal sent yet']);
      }
      const person = new Inspected(stage, http(`${stage.url}/mcp`), 'modern');
      is(await person.refused('answer', { question_id: UNKNOWN, answer: 'Yes.' }), noQuestion);
      is(await person.call('inbox', { run: stage.run_id }), { text: 'No open questions.' });
    },
  },
  {
    name: 'tools-only',
    shows: 'the server lists neither resources nor prompts, so nothing is left to call',
    async run(stage) {
      for (const agent of agentsOf(stage)) await agent.assertToolsOnly();
    },
  },
];

/** The agent on each way, with each handshake. */
function agentsOf(stage: Stage): Inspected[] {
  const ways = [http(stage.mcpUrl), stdio({ FORUMBUS_AGENT: AGENT })];
  return ways.flatMap(way => [new Inspected(stage, way, 'legacy'), new Inspected(stage, way, 'modern')]);
}
