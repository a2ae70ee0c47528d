import { expect } from 'vitest';
import type { Answer, TestApp } from './app.ts';
import { signal } from './signals.ts';

type Fields = Record<string, unknown>;

/** One run as those see it who work in it over HTTP. What answers no `Answer` must succeed. */
export function aRun(send: TestApp['send'], run_id: string) {
  const path = `/runs/${encodeURIComponent(run_id)}`;
  const sendSignal = (control_type: string, agent_name: string, fields: Fields = {}): Promise<Answer> =>
    send('POST', '/control-signals', signal(control_type, { run_id, agent_name, ...fields }));

  async function done(sending: Promise<Answer>) {
    const { status, body } = await sending;
    expect(status, JSON.stringify(body)).toBeLessThan(300);
    return body;
  }

  return {
    path,
    signal: sendSignal,
    brief: (body: unknown = {}, headers: Record<string, string> = {}) => send('PUT', path, body, headers),
    close: (body?: unknown, headers: Record<string, string> = {}) => send('POST', `${path}/close`, body, headers),
    snapshot: () => done(send('GET', path)),

    /** The run's row in the list of all runs; undefined if it is not there. */
    async row() {
      const { items } = await done(send('GET', '/runs?limit=200'));
      return items.find((item: { run_id: string }) => item.run_id === run_id);
    },

    /** The run's events, its own and those of its threads, oldest first. */
    async events(event_type?: string): Promise<Fields[]> {
      const filter = event_type === undefined ? '' : `&event_type=${event_type}`;
      return (await done(send('GET', `/events?limit=200&run_id=${encodeURIComponent(run_id)}${filter}`))).items;
    },

    /** Opens a question and answers its id. */
    async ask(agent_name: string, fields: Fields = {}): Promise<string> {
      return (await done(sendSignal('guidance_request', agent_name, fields))).question.question_id;
    },

    answer: (questionId: string, answer = 'Europe.') =>
      done(send('PUT', `/questions/${questionId}/answer`, { answer })),

    nextAttempt: (agent_name: string) =>
      send('POST', `/control-threads/${encodeURIComponent(run_id)}/${encodeURIComponent(agent_name)}/attempts`),

    /** All that the gate wants of an agent that has no open question. */
    async finish(agent_name: string, done_criteria = 'Tests are green.'): Promise<void> {
      await done(sendSignal('completion', agent_name));
      await done(sendSignal('validation', agent_name, { done_criteria }));
    },
  };
}

/** What the gate says, without the sentences for people, each of which has to be there. */
export function reasons({ reasons: given }: { reasons: Fields[] }): Fields[] {
  return given.map(({ detail, ...reason }) => {
    expect(detail).toMatch(/\S.*\.$/);
    return reason;
  });
}
