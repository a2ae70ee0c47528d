import { type Static, Type } from 'typebox';
import { askKey } from '../client/ask-key.ts';
import { findUnread, isAlike } from '../client/find-question.ts';
import type { AgentName, Control } from '../control/service.ts';
import { Refusal } from '../errors.ts';
import type { EventLog } from '../events/service.ts';
import type { IdempotentWrites } from '../http/idempotent-writes.ts';
import { LENGTHS, Name, Strict, Text } from '../http/schemas.ts';
import { priorities } from '../priority.ts';
import type { QuestionLists } from '../questions/lists.ts';
import type { Question } from '../questions/schemas.ts';
import type { QuestionService } from '../questions/service.ts';
import type { SignalService } from '../signals/service.ts';
import { LONGEST_WAIT } from './hold.ts';
import { agentOf } from './names.ts';
import type { OutcomeSender } from './outcomes.ts';
import { type Call, described, type Tool, tool } from './tool.ts';

interface Dependencies {
  control: Pick<Control, 'get'>;
  events: Pick<EventLog, 'list'>;
  questions: Pick<QuestionService, 'get'>;
  questionLists: QuestionLists;
  signals: SignalService;
  writes: IdempotentWrites;
  outcomes: OutcomeSender;
}

export const waitSeconds = Type.Optional(
  Type.Integer({ minimum: 0, maximum: LONGEST_WAIT, description: 'Answer after this time at the latest; 0: at once.' }),
);

const Option = Type.Union([Name, Strict({ label: Name, description: Type.Optional(Text(LENGTHS.description)) })]);

const Input = Strict({
  question: described(Text(LENGTHS.text), 'Self-contained; a person may read only this.'),
  context: Type.Optional(described(Text(LENGTHS.body), 'Facts, file names, what you tried.')),
  options: Type.Optional(
    Type.Array(Option, { minItems: 2, maxItems: 10, description: 'Choices, the recommended one first.' }),
  ),
  multi_select: Type.Optional(Type.Boolean()),
  priority: Type.Optional(Type.Enum([...priorities])),
  expires_in_seconds: Type.Optional(Type.Integer({ minimum: 1, maximum: 31_536_000 })),
  default_answer: Type.Optional(
    described(Text(LENGTHS.text), 'Applies if nobody answers in time; one of the labels. Needs expires_in_seconds.'),
  ),
  approvals: Type.Optional(
    Type.Integer({ minimum: 1, maximum: 2, description: '2: two people must give the same answer.' }),
  ),
  supersedes: Type.Optional(described(Name, 'Id of your open question that this one replaces.')),
  wait_seconds: waitSeconds,
});

interface AskedQuestion extends AgentName, Omit<Static<typeof Input>, 'wait_seconds' | 'options'> {
  attempt: number;
  options?: Offered[];
  source?: Call['source'];
}

type Offered = Exclude<Static<typeof Option>, string>;

/** The tool that asks a person. The same question again finds the first one, so a call that was cut can be repeated. */
export function askTool(dependencies: Dependencies): Tool {
  const { control, events, questions, questionLists, signals, writes, outcomes } = dependencies;
  const lists = { questions: questionLists.list, events: events.list };

  /** The current attempt: after a new one, the same words are a new question. */
  async function attemptOf({ run_id, agent_name }: AgentName): Promise<number> {
    try {
      return (await control.get(run_id, agent_name)).attempt;
    } catch (error) {
      if (error instanceof Refusal && error.code === 'CONTROL_THREAD_NOT_FOUND') return 1;
      throw error;
    }
  }

  /** Asks, or finds the question that was asked before. */
  async function ask({ request }: Call, asked: AskedQuestion): Promise<Question> {
    const { run_id, agent_name, attempt } = asked;
    const known = await findUnread(lists, { run_id, agent_name, attempt }, isAlike(asked));
    if (known) return known;
    const body = { schema_version: 1, control_type: 'guidance_request', ...asked };
    const command = signals.commandOf(body, request.caller);
    const twin = { key: await askKey(asked), path: '/control-signals', body, touches: signals.touches(command) };
    const signalId = await writes.performOnce(request, twin, async tx => {
      const { signal_id } = (await signals.accept(tx, command)).signal;
      return { status: 201, headers: { location: `/control-signals/${signal_id}` }, reference: signal_id };
    });
    const { question_id } = await signals.get(signalId);
    return questions.get(question_id as string);
  }

  return tool({
    name: 'ask',
    title: 'Ask a person',
    description:
      'Ask the people who run you, when a decision is theirs: unclear requirements, risky or irreversible steps, missing ' +
      'access. Waits for the answer. "Pending" means that nobody has answered yet; call wait then. Calling again with ' +
      'the same question goes on waiting and never asks twice.',
    input: Input,
    audience: ['agent'],
    readOnly: false,
    alwaysLoad: true,
    async run(call, { wait_seconds, options, ...rest }) {
      const agent = agentOf(call.request.caller, call.names);
      const { source } = call;
      const asked = { ...rest, ...(options && { options: options.map(toOption) }), ...(source && { source }) };
      const attempt = await attemptOf(agent);
      const question = await ask(call, { ...agent, ...asked, attempt }).catch(async error => {
        if (!(error instanceof Refusal && error.code === 'STALE_ATTEMPT')) throw error;
        // A new attempt began meanwhile.
        return ask(call, { ...agent, ...asked, attempt: await attemptOf(agent) });
      });
      try {
        return await outcomes.awaited(call, question, wait_seconds);
      } catch (error) {
        // The question is stored. An error now would make the agent think that it is not.
        call.request.log.warn({ err: error }, 'the wait for an answer ended early');
        return outcomes.now(call, question);
      }
    },
  });
}

function toOption(option: Static<typeof Option>): Offered {
  return typeof option === 'string' ? { label: option } : option;
}
