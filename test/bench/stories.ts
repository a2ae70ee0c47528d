import type { Actor } from '../../src/actor.ts';
import type { Tx } from '../../src/db/database.ts';
import type { Services } from '../../src/services.ts';
import type { SignalCommand } from '../../src/signals/command.ts';
import type { Chance, Vocabulary } from './vocabulary.ts';

/** One call of a service. */
export type Act = (tx: Tx) => Promise<unknown>;

/** What happens in one thread, one act after the other. */
export type Story = Generator<Act, void, void>;

export interface World {
  services: Services;
  chance: Chance;
  vocabulary: Vocabulary;
}

const CRITERIA = 'All tests are green.';
const tickets = Array.from({ length: 2000 }, (_, index) => `TCK-${index + 1}`);
const people = Array.from({ length: 50 }, (_, index) => `person-${index + 1}`);
const agents = Array.from({ length: 300 }, (_, index) => `agent-${index + 1}`);
const priorities = { urgent: 5, high: 20, normal: 60, low: 15 };
const ends = { closed: 55, new: 10, triaged: 8, waiting_operator: 8, waiting_human: 7, answered: 12 };
const operator: Actor = { type: 'operator', name: 'ana' };

/** What one agent sends: `ask`s a question, has it `answer`ed, says that it is done, is validated. */
type Step = 'ask' | 'answer' | 'complete' | 'validate' | 'fail';

export interface RunPlan {
  run_id: string;
  ticket: string | undefined;
  briefed: boolean;
  closes: boolean;
  /** Each agent's steps. */
  agents: Map<string, Step[]>;
  begun: boolean;
  /** Agents that have not done all their steps. */
  left: number;
}

/** A run of one to twenty agents. A third of the runs come to an end, and most of those are closed. */
export function planRun({ chance }: World, number: number): RunPlan {
  const ends = chance.flip(0.33);
  const team = new Map<string, Step[]>();
  for (let size = chance.integer(1, 20); team.size < size; ) team.set(chance.pick(agents, 1.5), steps(chance, ends));
  return {
    run_id: `run-${number}`,
    ticket: chance.flip(0.8) ? chance.pick(tickets, 1.5) : undefined,
    briefed: chance.flip(0.5),
    closes: ends && chance.flip(0.7),
    agents: team,
    begun: false,
    left: team.size,
  };
}

function steps(chance: Chance, ends: boolean): Step[] {
  const asked: Step[] = [];
  for (let count = Number(chance.among({ 0: 15, 1: 55, 2: 30 })); count > 0; count -= 1) asked.push('ask', 'answer');
  if (ends) return [...asked, 'complete', 'validate'];
  const rest = chance.among({ waits: 12, works: 15, failed: 10, done: 60 });
  const last: Record<typeof rest, Step[]> = {
    waits: ['ask'],
    works: chance.flip(0.5) ? ['complete'] : ['ask', 'answer'],
    failed: ['complete', 'fail'],
    done: ['complete', 'validate'],
  };
  return [...asked, ...last[rest]];
}

/** A run whose agents all end in the same way, each tenth of them waiting, however many signals they sent before. */
export function planWideRun(run_id: string, size: number, signals: number): RunPlan {
  const cycle: Step[] = [
    'ask',
    'answer',
    'complete',
    'validate',
    'complete',
    'ask',
    'answer',
    'fail',
    'complete',
    'fail',
  ];
  const team = new Map<string, Step[]>();
  for (let index = 0; index < size; index += 1) {
    const last: Step[] = ['complete', 'validate', ...(index % 10 === 0 ? (['ask'] as const) : [])];
    const before = Array.from({ length: Math.max(0, signals / size - last.length) });
    team.set(`worker-${index + 1}`, [...before.map((_, at) => cycle[at % cycle.length] as Step), ...last]);
  }
  return { run_id, ticket: 'TCK-1', briefed: true, closes: false, agents: team, begun: false, left: size };
}

/** What one agent does in its run; the first agent's story files the brief, the last one's closes the run. */
export function* agentStory({ services, chance, vocabulary }: World, run: RunPlan, agent_name: string): Story {
  const { run_id, ticket } = run;
  if (!run.begun && run.briefed) {
    const title = vocabulary.text(5);
    const brief = { title, done_criteria: CRITERIA, agents: [...run.agents.keys()], ...(ticket && { ticket }) };
    run.begun = true;
    yield tx => services.forum.runs.brief(tx, run_id, brief, operator, undefined);
  }
  let question = '';
  let thread = '';
  for (const step of run.agents.get(agent_name) ?? []) {
    const fields = signalFields(step, question);
    const signal = { schema_version: 1, run_id, agent_name, ...(ticket && { ticket }), ...fields } as SignalCommand;
    yield async tx => {
      const stored = await services.forum.signals.accept(tx, signal);
      question = stored.question?.question_id ?? question;
      thread = stored.thread.thread_id;
    };
  }
  if (chance.flip(0.1)) {
    const assignee = chance.pick(people, 2);
    yield tx => services.forum.threads.change(tx, thread, { assignee, actor: operator });
  }
  run.left -= 1;
  if (run.left === 0 && run.closes) yield tx => services.forum.runs.close(tx, run_id, operator, undefined);

  function signalFields(step: Step, in_reply_to: string): Record<string, unknown> {
    const text = vocabulary.text(chance.integer(4, 20));
    switch (step) {
      case 'ask':
        return { control_type: 'guidance_request', question: text, priority: chance.among(priorities) };
      case 'answer':
        return { control_type: 'guidance_answer', answer: text, in_reply_to };
      case 'complete':
        return { control_type: 'completion', summary: text };
      default:
        return {
          control_type: 'validation',
          status: step === 'fail' ? 'failed' : 'passed',
          done_criteria: CRITERIA,
          evidence: [{ kind: 'test_report', ref: 'reports/unit.xml' }],
        };
    }
  }
}

/** An ordinary thread of 1 to 30 posts; a third of them speak of a run and an agent. */
export function* discussionStory(
  {
    services: {
      forum: { threads },
    },
    chance,
    vocabulary,
  }: World,
  runs: RunPlan[],
): Story {
  const about = chance.flip(0.33) ? chance.pick(runs) : undefined;
  const agent_name = about && [...about.agents.keys()][0];
  const ticket = about?.ticket ?? (chance.flip(0.6) ? chance.pick(tickets, 1.5) : undefined);
  const author = (): Actor => {
    const type = chance.among({ agent: 45, human: 40, operator: 15 });
    return { type, name: type === 'agent' ? (agent_name ?? chance.pick(agents)) : chance.pick(people) };
  };
  const body = () => vocabulary.text(chance.integer(3, 40));
  const posts = Math.floor(30 * chance.next() ** 6);
  let id = '';
  yield async tx => {
    const opening = {
      title: vocabulary.text(chance.integer(3, 9)),
      body: body(),
      actor: author(),
      priority: chance.among(priorities),
      ...(about && { run_id: about.run_id }),
      ...(agent_name && { agent_name }),
      ...(ticket && { ticket }),
    };
    id = (await threads.open(tx, opening, opening.actor)).thread.thread_id;
  };
  for (let index = 0; index < posts; index += 1) yield tx => threads.addPost(tx, id, { body: body(), actor: author() });
  const change = {
    ...(chance.flip(0.5) && { assignee: chance.pick(people, 2) }),
    ...(chance.flip(0.08) && { priority: chance.among(priorities) }),
  };
  if (Object.keys(change).length > 0) yield tx => threads.change(tx, id, { ...change, actor: operator });
  const state = chance.among(ends);
  if (state === 'answered') yield tx => threads.addPost(tx, id, { body: body(), actor: operator, state });
  else if (state !== 'new') yield tx => threads.change(tx, id, { state, actor: operator });
}

/** One thread with very many posts. */
export function* longStory(
  {
    services: {
      forum: { threads },
    },
    vocabulary,
  }: World,
  thread_id: string,
  posts: number,
): Story {
  const actor: Actor = { type: 'agent', name: 'reporter' };
  yield tx => threads.open(tx, { thread_id, title: 'Daily report', body: vocabulary.text(20) }, actor);
  const AT_ONCE = 20;
  for (let index = 0; index < posts; index += AT_ONCE) {
    yield async tx => {
      for (let one = 0; one < AT_ONCE; one += 1)
        await threads.addPost(tx, thread_id, { body: vocabulary.text(20), actor });
    };
  }
}
