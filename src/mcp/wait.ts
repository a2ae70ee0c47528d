import { Type } from 'typebox';
import type { IdempotentWrites } from '../http/idempotent-writes.ts';
import { Id, Strict } from '../http/schemas.ts';
import type { Inbox } from '../inbox/service.ts';
import type { InboxWaiters } from '../inbox/waiting.ts';
import { questionNotFound } from '../questions/question.ts';
import type { QuestionService } from '../questions/service.ts';
import { waitSeconds } from './ask.ts';
import type { Hold } from './hold.ts';
import { agentOf } from './names.ts';
import { afterAnswer, type OutcomeSender } from './outcomes.ts';
import { news } from './texts.ts';
import { type Call, described, type Tool, type ToolAnswer, tool } from './tool.ts';

interface Dependencies {
  questions: Pick<QuestionService, 'get'>;
  inbox: Inbox;
  inboxWaiters: InboxWaiters;
  writes: IdempotentWrites;
  hold: Hold;
  outcomes: OutcomeSender;
}

/** News that one call tells. */
const NEWS_LIMIT = 10;
/** Until a result has been sent. What was cut off comes back after it. Seconds. */
const LEASE_SECONDS = 10;

const Input = Strict({
  question_id: Type.Optional(described(Id, 'Of the question; leave it out to wait for any news.')),
  wait_seconds: waitSeconds,
});

/** The tool that goes on waiting: for one question, or for whatever comes first. */
export function waitTool({ questions, inbox, inboxWaiters, writes, hold, outcomes }: Dependencies): Tool {
  async function anyNews(call: Call, seconds: number | undefined): Promise<ToolAnswer> {
    const { request, reply } = call;
    const agent = agentOf(request.caller, call.names);
    if (seconds !== 0) {
      await hold.whileHeld(
        call,
        seconds,
        () => `Waiting for an answer or a message for ${agent.agent_name}`,
        (timeoutMs, signal) => inboxWaiters.wait(agent, { timeoutMs, signal }),
      );
    }
    // A client that is gone takes nothing from the one that comes next.
    if (reply.raw.destroyed) return { text: '' };
    const wanted = { claimant: `mcp ${request.id}`, lease_seconds: LEASE_SECONDS, limit: NEWS_LIMIT };
    const touches = [`run ${agent.run_id}`] as const;
    const { items } = await writes.perform(request, tx => inbox.claim(tx, agent, wanted), { touches });
    if (items.length === 0) return { text: 'No news yet. Call wait again, or do other work first.' };
    const ids = items.map(({ item_id }) => item_id);
    const actor = request.caller.actor(undefined, agent.agent_name);
    afterAnswer(call, () => writes.perform(request, tx => inbox.acknowledge(tx, agent, ids, actor), { touches }));
    return { text: items.map(news).join('\n') };
  }

  return tool({
    name: 'wait',
    title: 'Wait for an answer or a message',
    description:
      'Wait for the answer to a question that you have asked or, without question_id, for any news: answers and messages ' +
      'of people. May end as "Pending"; then call it again.',
    input: Input,
    audience: ['agent'],
    readOnly: true,
    async run(call, { question_id, wait_seconds }) {
      if (question_id === undefined) return anyNews(call, wait_seconds);
      const question = await questions.get(question_id);
      if (!call.request.caller.sees(question.run_id)) throw questionNotFound(question_id);
      return outcomes.awaited(call, question, wait_seconds);
    },
  });
}
