import { newUid, toTimestamp } from '../../src/clock.ts';
import type { Question } from '../../src/questions/schemas.ts';
import type { SignalCommand } from '../../src/signals/command.ts';
import type { Accepted } from '../../src/signals/service.ts';

/** As large an answer as the service's, made of what was sent and of constants. */
export function accepted(signal: SignalCommand): Accepted {
  const uid = newUid();
  const { run_id, agent_name } = signal;
  const ticket = signal.ticket ?? null;
  const actor = signal.actor ?? { type: 'agent' as const, name: agent_name };
  const occurred_at = toTimestamp(Date.now());
  const thread_id = `fctrl-${run_id}-${agent_name}-e0a6c3f1b2d49587`;
  const made = { signal_id: `sig_${uid}`, sequence: 1_000_000, thread_id, occurred_at };
  const isQuestion = signal.control_type === 'guidance_request' || signal.control_type === 'guidance_answer';
  return {
    created: true,
    signal: { ...signal, ...made, ticket, actor, correlation_id: `sig_${uid}`, causation_id: null, attempt: 1 },
    thread: thread(thread_id, signal, occurred_at),
    control: {
      run_id,
      agent_name,
      thread_id,
      attempt: 1,
      status: 'completed',
      open_questions: [],
      open_questions_count: 0,
      open_questions_url: `/questions?state=open&run_id=${run_id}&agent_name=${agent_name}`,
      completion:
        signal.control_type === 'completion'
          ? { ...made, actor, summary: null, evidence: [], evidence_count: 0 }
          : null,
      validation: null,
      last_seen_at: null,
      version: 7,
    },
    inbox: { unread: 0 },
    ...(isQuestion && { question: question(`q_${uid}`, thread_id, signal, occurred_at) }),
  };
}

function thread(thread_id: string, signal: SignalCommand, at: string): Accepted['thread'] {
  const { run_id, agent_name, ticket = null } = signal;
  return {
    thread_id,
    kind: 'control',
    title: `Control: ${agent_name} in ${run_id}`,
    state: 'waiting_operator',
    priority: 'normal',
    assignee: null,
    ticket,
    run_id,
    agent_name,
    unanswered: true,
    posts_count: 7,
    last_sequence: 1_000_000,
    last_actor: { type: 'agent', name: agent_name },
    opened_by: { type: 'agent', name: agent_name },
    opened_at: at,
    updated_at: at,
    closed_at: null,
    version: 7,
  };
}

function question(question_id: string, thread_id: string, signal: SignalCommand, at: string): Question {
  const {
    run_id,
    agent_name,
    question: text = '',
    options = [],
  } = signal as Extract<SignalCommand, { question: string }>;
  return {
    question_id,
    run_id,
    agent_name,
    thread_id,
    state: 'open',
    version: 1,
    question: text,
    context: null,
    options,
    multi_select: false,
    priority: 'normal',
    asked_at: at,
    expires_at: null,
    default_answer: null,
    default_selected: [],
    default_applied: false,
    answer: null,
    selected: [],
    answered_by: null,
    answered_at: null,
    approvals_required: 1,
    approvals: [],
    acknowledged_at: null,
    answered_in: null,
    supersedes: null,
    source: null,
  };
}
