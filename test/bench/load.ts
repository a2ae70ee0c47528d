import { headOf } from './connection.ts';
import { Chance, Vocabulary } from './vocabulary.ts';

/** What the agents send: all four kinds of signals in turn, or completions only. */
export type Mix = 'mixed' | 'completions';

/** Agents that one connection speaks for. */
const AGENTS = 5;
const AGENTS_PER_RUN = 20;
/** Signals that an agent sends before another one takes its place: four times all kinds. */
const SIGNALS_PER_AGENT = 16;
/** Different texts of each kind. */
const TEXTS = 1000;

const HEAD = headOf('POST', '/control-signals');
const PUBLISH = headOf('POST', '/outbox');
/** Of each kind, made before any clock runs: the members of a signal beside those that name its sender. JSON. */
const kinds = texts();
const turns: Record<Mix, (keyof typeof kinds)[]> = {
  mixed: ['question', 'answer', 'completion', 'validation'],
  completions: ['completion'],
};

let loads = 0;

/**
 * The signals of as many connections as are given, as ready requests. Each connection has agents of its own, and they
 * take turns; an agent asks, is answered, says that it is done and how that was checked. Other agents in other runs with
 * every call of this.
 */
export function newLoad(connections: number, mix: Mix): (() => string)[] {
  loads += 1;
  const load = loads;
  return Array.from({ length: connections }, (_, index) => speaker(`${process.pid}-${load}`, index, turns[mix]));
}

function speaker(load: string, connection: number, round: (keyof typeof kinds)[]): () => string {
  let sent = 0;
  return () => {
    const slot = connection * AGENTS + (sent % AGENTS);
    const step = Math.floor(sent / AGENTS);
    const generation = Math.floor(step / SIGNALS_PER_AGENT);
    sent += 1;
    const number = `${load}-${generation}-${Math.floor(slot / AGENTS_PER_RUN)}`;
    const kind = round[step % round.length] as keyof typeof kinds;
    // An answer is at the place of the question before it.
    const at = (slot * 31 + Math.floor(step / round.length)) % TEXTS;
    const sender = `"run_id":"run-${number}","agent_name":"builder-${slot % AGENTS_PER_RUN}","ticket":"TCK-${number}"`;
    const body = `{"schema_version":1,${sender},${kinds[kind][at]}}`;
    return `${HEAD}${body.length}\r\n\r\n${body}`;
  };
}

/** A message of about 400 bytes for the outbox, as a ready request. */
export function messageRequest(topic: string, key: string | undefined, number: number): string {
  const text = kinds.completion[number % TEXTS] as string;
  const payload = `{"number":${number},"schema_version":1,"run_id":"run-${number % 500}",${text}}`;
  const body = `{"topic":"${topic}",${key === undefined ? '' : `"message_key":"${key}",`}"payload":${payload}}`;
  return `${PUBLISH}${body.length}\r\n\r\n${body}`;
}

function texts() {
  const vocabulary = new Vocabulary(new Chance(7));
  const text = (characters: number) => vocabulary.text(characters / 4).slice(0, characters - 1);
  const of = (make: (number: number) => object) =>
    Array.from({ length: TEXTS }, (_, number) => JSON.stringify(make(number)).slice(1, -1));
  const labels = Array.from({ length: TEXTS }, () => [1, 2, 3].map(number => `${text(12)}${number}`));
  // Every third question offers answers to choose from.
  const hasOptions = (number: number) => number % 3 === 0;
  return {
    question: of(number => ({
      control_type: 'guidance_request',
      question: `${text(80)}?`,
      ...(hasOptions(number) && { options: labels[number]?.map(label => ({ label })) }),
    })),
    answer: of(number => ({
      control_type: 'guidance_answer',
      answer: `${text(60)}.`,
      actor: { type: 'operator', name: 'ana' },
      ...(hasOptions(number) && { selected: labels[number]?.slice(0, 1) }),
    })),
    completion: of(number => ({
      control_type: 'completion',
      summary: `${text(200)}.`,
      evidence: [{ kind: 'test_report', ref: `reports/${number}/unit.xml` }],
    })),
    validation: of(number => ({
      control_type: 'validation',
      status: number % 10 === 0 ? 'failed' : 'passed',
      done_criteria: 'All tests are green.',
      evidence: [{ kind: 'log', ref: `logs/${number}/tests.log` }],
    })),
  };
}
