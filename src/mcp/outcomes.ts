import type { Clock } from '../clock.ts';
import type { AgentName } from '../control/service.ts';
import type { IdempotentWrites } from '../http/idempotent-writes.ts';
import type { Inbox } from '../inbox/service.ts';
import { isForAgent } from '../questions/question.ts';
import type { Question } from '../questions/schemas.ts';
import type { QuestionService } from '../questions/service.ts';
import type { Hold } from './hold.ts';
import { agentOf } from './names.ts';
import { NEWS_HINT, outcome, pending } from './texts.ts';
import type { Call, ToolAnswer } from './tool.ts';

interface Dependencies {
  clock: Clock;
  inbox: Inbox;
  questions: QuestionService;
  writes: IdempotentWrites;
  hold: Hold;
}

export type OutcomeSender = ReturnType<typeof createOutcomes>;

/** Answers with the outcome of a question, and acknowledges it for the agent once it has been sent. */
export function createOutcomes({ clock, inbox, questions, writes, hold }: Dependencies) {
  /** What there is to say of a question now. */
  async function now(call: Call, question: Question): Promise<ToolAnswer> {
    const { question_id, state, version, run_id, agent_name, acknowledged_at } = question;
    const self = agentOf(call.request.caller, call.names);
    const isOwn = self.run_id === run_id && self.agent_name === agent_name;
    if (isOwn && isForAgent(state) && acknowledged_at === null) {
      afterAnswer(call, () =>
        writes.perform(
          call.request,
          tx => questions.acknowledge(tx, question_id, { type: 'agent', name: agent_name }),
          { touches: [`run ${run_id}`] },
        ),
      );
    }
    const text = state === 'open' ? pending(question, clock.now()) : outcome(question);
    return {
      text: `${text}${await others(self, question_id)}`,
      meta: { 'forumbus/question': { question_id, state, version } },
    };
  }

  /** A hint at news beside those of a question; empty without any. */
  async function others(agent: AgentName, questionId?: string): Promise<string> {
    const { items } = await inbox.list(agent, { limit: 2 });
    return items.some(({ question }) => question?.question_id !== questionId || !question) ? NEWS_HINT : '';
  }

  return {
    now,
    others,

    /** Holds the call until the question has ended, and says what there is to say then. @throws Refusal as `whileHeld` */
    async awaited(call: Call, question: Question, seconds: number | undefined): Promise<ToolAnswer> {
      return now(call, await hold.untilEnded(call, question, seconds));
    },
  };
}

/**
 * Runs `work` once the whole answer has left. An answer that was cut off has not reached the agent, so it counts as
 * unread. If `work` fails, the agent hears of the same news again, which is better than never.
 */
export function afterAnswer({ request, reply }: Call, work: () => Promise<unknown>): void {
  reply.raw.once('finish', () => {
    work().catch(error => request.log.warn({ err: error }, 'could not acknowledge what an agent was told'));
  });
}
