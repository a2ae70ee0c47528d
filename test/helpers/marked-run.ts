import { expect } from 'vitest';
import type { Actor } from '../../src/actor.ts';
import { proveProjections } from '../verify/projection-proofs.ts';
import type { TestApp } from './app.ts';
import { dump } from './database.ts';
import { sqlBeside } from './sql.ts';

/** A word of each text of a run, to be looked for after it was erased. */
export const MARK = 'zwiebelturm';

/** The names of a run, which stay. */
export interface Marked {
  run_id: string;
  thread_id: string;
  discussion: string;
  questions: string[];
  messages: string[];
}

interface Person {
  send: TestApp['send'];
  actor: Actor;
}

/** A closed run that has a text with {@link MARK} in everything that can hold one. Its own handlers may fail with such texts. */
export async function markedRun(
  send: TestApp['send'],
  run_id: string,
  actor: Actor = { type: 'operator', name: 'ana' },
  other: Person = { send, actor: { type: 'operator', name: 'ben' } },
): Promise<Marked> {
  let made = 0;
  let keys = 0;
  const text = () => `${MARK}${++made} of ${run_id}`;
  const done = async (
    method: 'POST' | 'PUT' | 'PATCH',
    url: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ) => {
    const answer = await send(method, url, body, headers);
    expect(answer.status, `${method} ${url}: ${JSON.stringify(answer.body)}`).toBeLessThan(300);
    return answer.body;
  };
  const keyed = () => ({ 'idempotency-key': `key-${run_id}-${++keys}` });
  const signal = (control_type: string, fields: object, agent_name = 'builder') =>
    done(
      'POST',
      '/control-signals',
      { schema_version: 1, control_type, run_id, agent_name, ticket: 'TCK-1', ...fields },
      keyed(),
    );
  const done_criteria = text();
  await done('PUT', `/runs/${run_id}`, { title: text(), done_criteria, ticket: 'TCK-1', agents: ['builder'], actor });
  const options = [{ label: text(), description: text() }, { label: text() }];
  const ask = async (fields: object = {}) =>
    (
      await signal('guidance_request', {
        ...{
          question: text(),
          context: text(),
          options,
          default_selected: [options[0]?.label],
          expires_in_seconds: 86_400,
          ...fields,
        },
        source: { host: text(), session_id: 's-1', cwd: text(), url: text() },
      })
    ).question;
  const first = await ask();
  await done('PUT', `/questions/${first.question_id}/answer`, {
    ...{ answer: text(), selected: [options[1]?.label], actor },
  });
  const second = await ask();
  await done('POST', `/questions/${second.question_id}/cancel`, { actor }, keyed());
  const third = await ask();
  const fourth = await ask({ supersedes: third.question_id });
  await signal('guidance_answer', { in_reply_to: fourth.question_id, answer: text(), actor });
  await done('POST', `/questions/${fourth.question_id}/acknowledge`, {}, keyed());
  const { thread_id } = fourth;
  await done('POST', `/threads/${thread_id}/posts`, { body: text(), actor }, keyed());
  const note = text();
  await signal('completion', { summary: text(), evidence: [{ kind: 'log', ref: text(), note }] }, 'tester');
  await signal('validation', { status: 'passed', done_criteria: text() }, 'tester');
  await done('POST', `/control-threads/${run_id}/tester/withdraw`, { actor }, keyed());
  await signal('completion', { summary: text(), evidence: [{ kind: 'log', ref: text(), note }] });
  await signal('validation', { status: 'passed', done_criteria, evidence: [{ kind: 'log', ref: text(), note }] });

  const talk = { title: text(), body: text(), run_id, actor };
  const discussion = (await done('POST', '/threads', talk, keyed())).thread_id;
  await done('POST', `/threads/${discussion}/posts`, { body: text(), actor }, keyed());
  await done('PATCH', `/threads/${discussion}`, { priority: 'high', assignee: 'bob', actor });

  const messages: string[] = [];
  const publish = async (topic: string, payload: object) => {
    messages.push((await done('POST', '/outbox', { topic, message_key: 'shared', payload }, keyed())).message_id);
  };
  await publish('forum.integration.marked', { run_id, log: text() });
  await publish('forum.commands.add_post', { thread_id: discussion, body: text(), actor });
  const forTwo = { approvals: 2, default_selected: undefined };
  const fifth = await ask(forTwo);
  const sixth = await ask(forTwo);
  const agreed = text();
  const answerBy = async (person: Person, { question_id }: { question_id: string }, given: object) => {
    const { status } = await person.send('PUT', `/questions/${question_id}/answer`, { ...given, actor: person.actor });
    expect(status).toBe(200);
  };
  for (const person of [{ send, actor }, other]) {
    await answerBy(person, fifth, { answer: agreed, selected: [options[1]?.label] });
    await answerBy(person, sixth, { answer: text(), selected: [options[0]?.label] });
  }
  await done('POST', `/questions/${sixth.question_id}/cancel`, { actor }, keyed());
  await done('POST', `/control-threads/${run_id}/builder/inbox/claim`, { claimant: 's-1' }, keyed());
  await done('POST', `/runs/${run_id}/close`, { actor }, keyed());
  const questions = [first, second, third, fourth, fifth, sixth].map(({ question_id }) => question_id);
  return { run_id, thread_id, discussion, questions, messages };
}

/** The rows of all tables in which the mark stands, by table. */
export async function marksIn(url: string): Promise<Record<string, string[]>> {
  const tables = Object.entries(await dump(url));
  return Object.fromEntries(
    tables
      .map(([name, rows]) => [name, rows.filter(row => row.includes(MARK))] as const)
      .filter(([, rows]) => rows.length > 0),
  );
}

/** What the projections say otherwise than the log, in a sentence each. */
export async function projectionFaults(url: string): Promise<string[]> {
  const rows = (table: string) => sqlBeside(url, `select * from ${table}`);
  const events = (await sqlBeside(url, 'select * from events order by sequence')).map(row => ({
    ...row,
    sequence: Number(row.sequence),
    occurred_at: Number(row.occurred_at),
    payload: JSON.parse(String(row.payload)),
  }));
  expect(events.map(({ sequence }) => sequence)).toEqual(events.map((_, index) => index + 1));
  const names = ['threads', 'control_threads', 'runs', 'questions', 'inbox_items', 'counts', 'seen'];
  const tables = Object.fromEntries(await Promise.all(names.map(async name => [name, await rows(name)] as const)));
  const nothing = { asked: [], claimed: [], sightings: [], marks: [], deliveries: [], received: new Set<string>() };
  const observed = { ...nothing, events, tables: { ...tables, topics: [] } };
  return proveProjections(observed as unknown as Parameters<typeof proveProjections>[0]).flatMap(
    ({ faults }) => faults,
  );
}
