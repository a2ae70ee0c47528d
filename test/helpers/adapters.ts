import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { json } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { beforeAll, beforeEach, expect, onTestFinished } from 'vitest';
import { Forumbus, type Question } from '../../src/client/index.ts';
import { startApp, type TestApp } from './app.ts';
import { forThisTest, NODE_COMPILE_CACHE } from './process.ts';
import { scratchFolder } from './scratch.ts';
import { listen } from './socket.ts';

/** An agent of a framework, and the people who answer it from elsewhere, on a service that is shared by a suite. */
export interface Meeting {
  readonly url: string;
  readonly run_id: string;
  /** A new client of the same agent, as a restarted process makes one. */
  agent: () => Forumbus;
  person: Forumbus;
  /** All questions of the run, oldest first. */
  questions: () => Promise<Question[]>;
  /** The open question with this text, as soon as it is asked. */
  asked: (text: string | RegExp) => Promise<Question>;
  /** Answers the question with this text, as soon as it is asked. */
  answer: (text: string | RegExp, answer: { answer?: string; selected?: string[] }) => Promise<void>;
}

/** Starts the service of a suite; each test has a run of its own. */
export function meeting(): Meeting {
  let service: TestApp;
  let url = '';
  let person: Forumbus;
  let runs = 0;
  beforeAll(async () => {
    service = await startApp('sqlite', { config: { ROLE: 'all', MIN_DEFAULT_SECONDS: '1' } });
    url = `http://127.0.0.1:${await listen(service.app)}`;
    person = new Forumbus({ url });
    return () => service.close();
  });
  beforeEach(() => {
    runs += 1;
  });
  const meeting: Meeting = {
    get url() {
      return url;
    },
    get run_id() {
      return `run-${runs}`;
    },
    get person() {
      return person;
    },
    agent: () => new Forumbus({ url, run_id: meeting.run_id, agent_name: 'builder', retry_seconds: 20 }),
    questions: async () => {
      const { items } = await person.questions({ run_id: meeting.run_id, limit: 200 });
      return items.toSorted((one, other) => one.asked_at.localeCompare(other.asked_at));
    },
    async asked(text) {
      const isIt = ({ question, state }: Question) => state === 'open' && question.match(text) !== null;
      // A process of a framework takes seconds to start.
      await expect.poll(async () => (await meeting.questions()).some(isIt), { timeout: 60_000 }).toBe(true);
      return (await meeting.questions()).find(isIt) as Question;
    },
    async answer(text, answer) {
      const { question_id } = await meeting.asked(text);
      await person.answer(question_id, { ...answer, actor: { type: 'human', name: 'ana' } });
    },
  };
  return meeting;
}

/** Starts a process of a framework, over and over, with one file for its state. Its output is JSON. */
export async function survivor(framework: 'langgraph' | 'openai-agents', { url, run_id }: Meeting) {
  const script = fileURLToPath(new URL(`./${framework}-process.ts`, import.meta.url));
  const file = join((await forThisTest(scratchFolder())).path, 'state');
  return () => {
    const child = spawn(process.execPath, [script, file, url, run_id], {
      env: { PATH: process.env.PATH, NODE_COMPILE_CACHE },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const ended = once(child, 'close');
    const kill = async () => {
      child.kill('SIGKILL');
      await ended;
    };
    onTestFinished(kill);
    return { kill, output: json(child.stdout).catch(() => undefined) };
  };
}
