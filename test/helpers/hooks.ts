import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { TestApp } from './app.ts';
import { commandLine, spawnCli } from './cli.ts';
import { forThisTest } from './process.ts';
import { scratchFolder } from './scratch.ts';

type Fields = Record<string, unknown>;
type Env = Record<string, string>;

let runs = 0;

/** A session of a host, whose hooks run as the host would run them, in a run of its own. */
export async function hostSession(host: string, service: Pick<TestApp, 'send'>, url: string, hostEnv: Env = {}) {
  const folder = (await forThisTest(scratchFolder())).path;
  runs += 1;
  const run_id = `${host}-${runs}`;
  const env = {
    XDG_STATE_HOME: join(folder, 'state'),
    HOME: folder,
    FORUMBUS_URL: url,
    FORUMBUS_RUN: run_id,
    ...hostEnv,
  };
  const place = { env, cwd: folder };
  const program = commandLine(place);
  const json = (event: Fields) => JSON.stringify({ session_id: 's-1', cwd: folder, ...event });
  const outputOf = ({ code, out, err }: { code: number; out: string; err: string }) => {
    expect({ code, err }).toEqual({ code: 0, err: '' });
    return out === '' ? undefined : JSON.parse(out);
  };
  const agent = `/control-threads/${run_id}/${host}`;
  const ask = async (question = 'Deploy?', fields: Fields = {}) => {
    const signal = {
      schema_version: 1,
      control_type: 'guidance_request',
      run_id,
      agent_name: host,
      question,
      ...fields,
    };
    return (await service.send('POST', '/control-signals', signal)).body.question.question_id as string;
  };
  const answer = async (question_id: string, given: string | Fields = 'Yes.') => {
    const fields = typeof given === 'string' ? { answer: given } : given;
    const body = { actor: { type: 'human', name: 'ana' }, ...fields };
    const answered = await service.send('PUT', `/questions/${question_id}/answer`, body);
    expect(answered.status, JSON.stringify(answered.body)).toBe(200);
  };
  const questions = async (query = '') => (await service.send('GET', `/questions?run_id=${run_id}${query}`)).body.items;

  return {
    folder,
    run_id,
    place,
    program,
    /** Fires an event, and answers what the hook has printed; undefined if nothing. */
    fire: async (event: Fields, { args = [], env: more = {} }: { args?: string[]; env?: Env } = {}) =>
      outputOf(await program(['hook', host, ...args], { input: json(event), env: more })),
    /** The same in a process of its own. */
    spawn: (event: Fields, { args = [], env: more = {} }: { args?: string[]; env?: Env } = {}) =>
      spawnCli(['hook', host, ...args], { ...place, env: { ...env, ...more } }, undefined, json(event)),
    outputOf,
    ask,
    answer,
    /** A question that has been answered: news for the agent. */
    news: async (given?: string | Fields, question?: string, fields?: Fields) => {
      const id = await ask(question, fields);
      await answer(id, given);
      return id;
    },
    questions,
    /** The only open question, once there is one. */
    asked: async () => {
      await expect.poll(() => questions('&state=open'), { timeout: 20_000 }).toHaveLength(1);
      const [question] = await questions('&state=open');
      return question;
    },
    /** The process that waits to wake the session, as its file says. */
    waiter: async () => {
      const sessions = join(folder, 'state/forumbus/sessions');
      const [file] = (await readdir(sessions).catch(() => [])).filter(name => name.endsWith('.waiter'));
      return file && JSON.parse(await readFile(join(sessions, file), 'utf8')).pid;
    },
    inbox: async () => (await service.send('GET', `${agent}/inbox`)).body.items,
  };
}
export type HostSession = Awaited<ReturnType<typeof hostSession>>;

/** The input of the tool AskUserQuestion. */
export const region = {
  question: 'Which region?',
  header: 'Region',
  options: [
    { label: 'eu-west-1', description: 'Europe' },
    { label: 'us-east-1', description: 'US' },
  ],
  multiSelect: false,
};
export const tests = {
  question: 'Which tests?',
  header: 'Tests',
  options: [
    { label: 'unit', description: 'Unit' },
    { label: 'load', description: 'Load' },
    { label: 'e2e', description: 'End to end' },
  ],
  multiSelect: true,
};
