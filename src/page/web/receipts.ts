import { signal } from '@preact/signals-core';
import { html } from 'htm/preact';
import type { Question } from '../../client/index.ts';
import { agentKey, agents, waitingOnAgents } from './inbox-store.ts';
import { now } from './live.ts';
import { AgeText } from './parts.ts';
import { connect } from './service.ts';
import { clock } from './text.ts';

/* How far an answer has come: sent, delivered (a session of the agent has claimed it), acknowledged. */

const AGENTS_MOST = 20;

/** Ids of questions whose outcome somebody has claimed for the agent. */
const claimed = signal<ReadonlySet<string>>(new Set());

/** Reads the inboxes of the agents that have news. */
export async function readClaims(): Promise<void> {
  const waiting = new Map(waitingOnAgents.value.map(question => [agentKey(question), question]));
  const inboxes = await Promise.all(
    [...waiting.values()]
      .slice(0, AGENTS_MOST)
      .map(({ run_id, agent_name }) => connect({ run_id, agent_name }).inbox.list({ limit: 200 })),
  );
  const ids = inboxes.flatMap(({ items }) =>
    items.flatMap(({ claimed_until, question }) => (claimed_until !== null && question ? [question.question_id] : [])),
  );
  claimed.value = new Set(ids);
}

export function Receipts({ question }: { question: Question }) {
  const { question_id, answered_at, acknowledged_at, state } = question;
  const isDelivered = acknowledged_at !== null || claimed.value.has(question_id);
  const lastSeen = agents.value.get(agentKey(question))?.last_seen_at;
  return html`<span class="receipts">
    ${state === 'answered' && html`<span class="ticks" title=${answered_at && clock(answered_at)}>sent ✓</span>`}
    ${
      isDelivered
        ? html`<span class="ticks">delivered ✓</span>`
        : html`<span>not delivered${lastSeen ? html`: the agent was last seen <${AgeText} at=${lastSeen} /> ago` : ''}</span>`
    }
    ${
      acknowledged_at === null
        ? isDelivered && html`<b>not yet acknowledged</b>`
        : html`<span class="ticks" title=${clock(acknowledged_at)}>acknowledged ✓</span>`
    }
  </span>`;
}

/** Whether an agent is there: it acts, or waits for an answer. */
export function AgentPresence({ question }: { question: Question }) {
  const lastSeen = agents.value.get(agentKey(question))?.last_seen_at;
  if (!lastSeen) return null;
  // Waits are noted every half a minute.
  if (now.value - Date.parse(lastSeen) < 75_000) return html`<span>the agent is there</span>`;
  return html`<span>last seen <${AgeText} at=${lastSeen} /> ago</span>`;
}
