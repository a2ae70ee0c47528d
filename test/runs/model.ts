import type { ProblemCode } from '../../src/errors.ts';

/*
 * A run as the contract words it, added up anew from everything that was accepted each time that it is asked for. The
 * service keeps sums instead; the property test compares the two.
 */

export const AGENTS = ['a', 'b', 'c'];
const PRIORITIES = ['urgent', 'high', 'normal', 'low'];

export interface Brief {
  ticket: string | null;
  title: string | null;
  done_criteria: string | null;
  agents: string[];
}

/** What somebody tries. `question` picks one of all that were ever asked. */
export type Step =
  | { does: 'brief'; brief: Partial<Brief> }
  | { does: 'ask'; agent: string; priority: string; ticket: string | undefined; supersedes: number | undefined }
  | { does: 'reply'; agent: string }
  | { does: 'answer'; question: number }
  | { does: 'cancel'; question: number }
  | { does: 'complete'; agent: string; ticket: string | undefined }
  | { does: 'validate'; agent: string; status: 'passed' | 'failed'; done_criteria: string }
  | { does: 'start attempt'; agent: string }
  | { does: 'close thread'; agent: string }
  | { does: 'close' };

type QuestionState = 'answered' | 'cancelled' | 'superseded';

/** What was accepted. */
type Fact =
  | { fact: 'briefed'; brief: Brief }
  | { fact: 'asked'; agent: string; ticket?: string | undefined; question: number; priority: string }
  | { fact: 'settled'; agent: string; question: number; state: QuestionState }
  | { fact: 'completed'; agent: string; ticket?: string | undefined }
  | { fact: 'validated'; agent: string; status: 'passed' | 'failed'; done_criteria: string }
  | { fact: 'attempt started' | 'thread closed'; agent: string }
  | { fact: 'closed' };

/** What must come of a step: a refusal, or facts, of which there may be none. */
export type Verdict = { code: ProblemCode } | { facts: Fact[] };

export class RunModel {
  readonly facts: Fact[] = [];
  /** The ids that the service gave to the questions, in the order in which they were asked. */
  readonly ids: string[] = [];

  judge(step: Step): Verdict {
    const agent = 'agent' in step ? step.agent : '';
    const closed = this.closed || this.threadClosed(agent);
    switch (step.does) {
      case 'brief': {
        const brief = { ticket: null, title: null, done_criteria: null, agents: [], ...step.brief };
        if (JSON.stringify(brief) === JSON.stringify(this.brief)) return { facts: [] };
        return this.closed ? { code: 'RUN_CLOSED' } : { facts: [{ fact: 'briefed', brief }] };
      }
      case 'close':
        if (this.facts.length === 0) return { code: 'RUN_NOT_FOUND' };
        if (this.closed) return { facts: [] };
        return this.reasons.length > 0 ? { code: 'GATE_BLOCKED' } : { facts: [{ fact: 'closed' }] };
      case 'start attempt':
        if (!this.agents.includes(agent)) return { code: 'CONTROL_THREAD_NOT_FOUND' };
        return closed ? this.closedCode() : { facts: [{ fact: 'attempt started', agent }] };
      case 'close thread': {
        if (closed || !this.agents.includes(agent)) return { facts: [] };
        const withdrawn = this.open(agent).map(question => this.settled(question, 'cancelled'));
        return { facts: [...withdrawn, { fact: 'thread closed', agent }] };
      }
      case 'answer':
      case 'cancel':
        return this.judgeSettling(step.does, step.question);
      default:
        if (closed) return this.closedCode();
        return this.judgeSignal(step);
    }
  }

  private closedCode(): Verdict {
    return { code: this.closed ? 'RUN_CLOSED' : 'THREAD_CLOSED' };
  }

  private judgeSignal(step: Step & { does: 'ask' | 'reply' | 'complete' | 'validate' }): Verdict {
    const { agent } = step;
    switch (step.does) {
      case 'complete':
        return { facts: [{ fact: 'completed', agent, ticket: step.ticket }] };
      case 'validate': {
        const { status, done_criteria } = step;
        return { facts: [{ fact: 'validated', agent, status, done_criteria }] };
      }
      case 'reply': {
        const [only, ...others] = this.open(agent);
        if (only === undefined) return { code: 'NO_OPEN_QUESTION' };
        return others.length > 0 ? { code: 'AMBIGUOUS_ANSWER' } : { facts: [this.settled(only, 'answered')] };
      }
      default: {
        const { ticket, priority, supersedes } = step;
        const asked: Fact = { fact: 'asked', agent, ticket, question: this.asked.length, priority };
        if (supersedes === undefined) return { facts: [asked] };
        if (this.asked[supersedes]?.agent !== agent) return { code: 'QUESTION_MISMATCH' };
        const state = this.stateOf(supersedes);
        if (state !== 'open') return { code: state === 'answered' ? 'ALREADY_ANSWERED' : 'QUESTION_CLOSED' };
        return { facts: [asked, this.settled(supersedes, 'superseded')] };
      }
    }
  }

  private judgeSettling(does: 'answer' | 'cancel', question: number): Verdict {
    const state = this.stateOf(question);
    const wanted = does === 'answer' ? 'answered' : 'cancelled';
    if (state === 'open') return { facts: [this.settled(question, wanted)] };
    if (state === wanted) return { facts: [] };
    const { agent = '' } = this.asked[question] ?? {};
    if (does === 'answer' && (this.closed || this.threadClosed(agent))) return this.closedCode();
    return { code: state === 'answered' ? 'ALREADY_ANSWERED' : 'QUESTION_CLOSED' };
  }

  private settled(question: number, state: QuestionState): Fact {
    return { fact: 'settled', agent: this.asked[question]?.agent ?? '', question, state };
  }

  private of<F extends Fact['fact']>(...kinds: F[]): Extract<Fact, { fact: F }>[] {
    return this.facts.filter((fact): fact is Extract<Fact, { fact: F }> => kinds.includes(fact.fact as F));
  }

  get asked() {
    return this.of('asked');
  }

  get closed(): boolean {
    return this.of('closed').length > 0;
  }

  get brief(): Brief | null {
    return this.of('briefed').at(-1)?.brief ?? null;
  }

  /** That of the brief, else that of the first act of an agent: the one that it names, or that of the brief at that time. */
  get ticket(): string | null {
    let brief: Brief | null = null;
    let first: string | null = null;
    for (const fact of this.facts) {
      if (fact.fact === 'briefed') brief = fact.brief;
      else if (fact.fact !== 'thread closed' && 'agent' in fact)
        first ??= ('ticket' in fact ? fact.ticket : undefined) ?? brief?.ticket ?? null;
    }
    return brief?.ticket ?? first;
  }

  /** Those that have sent a signal, by name. */
  get agents(): string[] {
    const signals = this.of('asked', 'completed', 'validated');
    return [...new Set(signals.map(({ agent }) => agent))].sort();
  }

  /** Those that the brief names and that have sent none, in its order. */
  get absent(): string[] {
    const { agents, brief } = this;
    return (brief?.agents ?? []).filter(name => !agents.includes(name));
  }

  /** The numbers of an agent's open questions, oldest first; of everybody's, if none is named. */
  open(name?: string): number[] {
    const own = this.asked.filter(({ agent }) => name === undefined || agent === name);
    return own.map(({ question }) => question).filter(question => this.stateOf(question) === 'open');
  }

  stateOf(question: number): QuestionState | 'open' {
    return this.of('settled').find(settled => settled.question === question)?.state ?? 'open';
  }

  private threadClosed(name: string): boolean {
    return this.of('thread closed').some(({ agent }) => agent === name);
  }

  control(name: string) {
    const own = this.facts.filter(fact => 'agent' in fact && fact.agent === name);
    const started = own.filter(({ fact }) => fact === 'attempt started').length;
    const current = own.slice(own.findLastIndex(({ fact }) => fact === 'attempt started') + 1);
    const completed = current.some(({ fact }) => fact === 'completed');
    const validation = current.findLast(fact => fact.fact === 'validated');
    const open = this.open(name);
    let status = 'working';
    if (open.length > 0) status = 'awaiting_guidance';
    else if (validation?.status === 'failed') status = 'validation_failed';
    else if (completed) status = validation ? 'validated' : 'completed';
    return { attempt: 1 + started, completed, validation, open, status };
  }

  /** Why the run cannot be closed. */
  get reasons(): object[] {
    const { agents, absent, brief } = this;
    if (agents.length + absent.length === 0) return [{ code: 'NO_AGENTS' }];
    const reasons: object[] = absent.map(agent_name => ({ code: 'AGENT_NOT_SEEN', agent_name }));
    for (const agent_name of agents) {
      const { open, completed, validation } = this.control(agent_name);
      for (const number of open) reasons.push({ code: 'OPEN_QUESTION', agent_name, question_id: this.ids[number] });
      if (!completed) reasons.push({ code: 'MISSING_COMPLETION', agent_name });
      const wanted = brief?.done_criteria ?? validation?.done_criteria;
      if (!validation) reasons.push({ code: 'MISSING_VALIDATION', agent_name });
      else if (validation.status === 'failed') reasons.push({ code: 'VALIDATION_FAILED', agent_name });
      else if (validation.done_criteria !== wanted) reasons.push({ code: 'DONE_CRITERIA_MISMATCH', agent_name });
    }
    return reasons;
  }

  get status(): string {
    if (this.closed) return 'closed';
    if (this.open().length > 0) return 'awaiting_guidance';
    return this.reasons.length === 0 ? 'completed' : 'running';
  }

  /** The ids of all open questions as the inbox orders them. */
  get inbox(): (string | undefined)[] {
    const rank = (question: number) => PRIORITIES.indexOf(this.asked[question]?.priority ?? '');
    return this.open()
      .sort((a, b) => rank(a) - rank(b) || a - b)
      .map(question => this.ids[question]);
  }
}
