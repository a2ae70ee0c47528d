import { LENGTHS } from '../../src/http/schemas.ts';

/** A valid control signal of each type; `fields` are added to it. */
export function signal(control_type: string, fields: object = {}): Record<string, unknown> {
  const required: Record<string, Record<string, unknown>> = {
    guidance_request: { question: 'Which region?' },
    guidance_answer: { answer: 'Europe.' },
    completion: {},
    validation: { status: 'passed', done_criteria: 'Tests are green.' },
  };
  return {
    schema_version: 1,
    control_type,
    run_id: 'run-1',
    agent_name: 'builder',
    ...required[control_type],
    ...fields,
  };
}

/** Fields of a completion whose text has this many characters, in a summary and as many notes as that takes. */
export function textOfSize(size: number, character = '.') {
  const notes: { kind: string; ref: string; note: string }[] = [];
  for (let rest = size - LENGTHS.text; rest > 0; rest -= LENGTHS.text) {
    notes.push({ kind: 'log', ref: 'ci.txt', note: character.repeat(Math.min(rest, LENGTHS.text)) });
  }
  return { summary: character.repeat(Math.min(size, LENGTHS.text)), ...(notes.length > 0 && { evidence: notes }) };
}
