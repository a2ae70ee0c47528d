import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { Forumbus } from '../../src/client/index.ts';
import { freePort } from '../helpers/ports.ts';
import type { Options } from './options.ts';
import type { Proof } from './proof.ts';
import { type Random, seeded } from './random.ts';
import type { Progress } from './report.ts';
import { Restarting, sourceOf } from './restarting.ts';
import type { Store } from './store.ts';

/** A kill comes at most so long after a command has begun, or after its question is there. Milliseconds. */
const KILL_WITHIN_MS = { asking: 1500, waiting: 400 };
/** A person answers at most so long after a question has come. Milliseconds. */
const THINK_MS = 800;
/** What one question may take, all repeats included. Milliseconds. */
const PATIENCE_MS = 90_000;

const RUN = 'run-cli';

/**
 * Asks one question after the other by the command line, answers each, and kills the command, the service or both at some
 * moment. The command is repeated until it prints an answer, as an agent repeats it.
 */
export async function cliKills(
  { kills, seed }: Options,
  store: Store,
  folder: string,
  progress: Progress,
  interrupted: AbortSignal,
): Promise<{ proofs: Proof[]; table: Record<string, string | number> }> {
  const random = seeded(seed);
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const settings = { PORT: String(port), DATABASE_URL: store.url, RATE_LIMIT_PER_MINUTE: '0' };
  const service = new Restarting(settings, join(folder, 'service.log'));
  const env = { XDG_STATE_HOME: folder, FORUMBUS_URL: url, FORUMBUS_RUN: RUN, FORUMBUS_AGENT: 'builder' };
  const person = new Forumbus({ url, retry_seconds: PATIENCE_MS / 1000 });
  const ending = new AbortController();
  const signal = AbortSignal.any([ending.signal, interrupted]);
  let failed: unknown;
  const answering = answerAll(person, random, signal).catch(error => {
    failed = error;
  });
  const begun = performance.now();
  const counts = { commands: 0, cli: 0, service: 0, both: 0, waiting: 0 };
  const lost: string[] = [];
  try {
    for (let round = 1; round <= kills; round += 1) {
      progress.show(round / kills, `question ${round}, ${counts.commands} commands`);
      const question = `Question ${round}?`;
      const last = performance.now() + PATIENCE_MS;
      let said: { code: number | null; out: string } | undefined;
      for (let isFirst = true; said?.code !== 0 && performance.now() < last; isFirst = false) {
        interrupted.throwIfAborted();
        if (failed) throw failed;
        counts.commands += 1;
        const child = spawn(process.execPath, [sourceOf('cli/main.ts'), 'ask', question, '--wait', '20s'], {
          env: { PATH: process.env.PATH, ...env },
          stdio: ['ignore', 'pipe', 'ignore'],
        });
        const ended = Promise.all([once(child, 'close'), text(child.stdout)]);
        if (isFirst) {
          const victim = random.pick(['cli', 'service', 'both'] as const);
          const moment = random.pick(['asking', 'waiting'] as const);
          counts[victim] += 1;
          counts.waiting += moment === 'waiting' ? 1 : 0;
          const isThere = moment === 'waiting' ? untilAsked(person, question, last) : undefined;
          const time = delay(random.below(KILL_WITHIN_MS[moment]));
          await Promise.race([Promise.all([isThere, time]), ended]);
          if (victim !== 'service') child.kill('SIGKILL');
          if (victim !== 'cli') service.kill();
        }
        const [[code], out] = await ended;
        said = { code, out: out.trim() };
      }
      if (said?.out !== answerTo(question))
        lost.push(`${question} ended with ${said?.code} and ${said?.out || 'nothing'}`);
    }
    const { items } = await person.questions({ run_id: RUN, limit: 200 });
    const asked = new Map<string, number>();
    for (const { question } of items) asked.set(question, (asked.get(question) ?? 0) + 1);
    const doubled = [...asked].filter(([, count]) => count > 1).map(([question]) => `${question} was asked twice`);
    const open = items
      .filter(({ state }) => state !== 'answered')
      .map(({ question, state }) => `${question} is ${state}`);
    const seconds = Math.round((performance.now() - begun) / 1000);
    return {
      proofs: [
        { claim: 'a repeated command asked once', checked: asked.size, faults: doubled },
        { claim: 'every command has printed the answer to its question in the end', checked: kills, faults: lost },
        { claim: 'every question was answered', checked: items.length, faults: open },
      ],
      table: {
        'commands run': counts.commands,
        'commands killed': counts.cli + counts.both,
        'services killed': counts.service + counts.both,
        'killed while the command waits': counts.waiting,
        'seconds, and of a question': `${seconds}, ${(seconds / kills).toFixed(1)}`,
      },
    };
  } finally {
    ending.abort();
    await answering;
    await service.end();
  }
}

const answerTo = (question: string) => `The answer to ${question}`;

/** Resolves once a question is stored, or it is too late for that. */
async function untilAsked(person: Forumbus, text: string, last: number): Promise<void> {
  const isIt = ({ question }: { question: string }) => question === text;
  while (performance.now() < last) {
    const { items } = await person.questions({ run_id: RUN, order: 'newest', limit: 5 });
    if (items.some(isIt)) return;
    await delay(10);
  }
}

/** A person who answers every question after a while. */
async function answerAll(person: Forumbus, random: Random, signal: AbortSignal): Promise<void> {
  try {
    for (;;) {
      const { items } = await person.questions({ run_id: RUN, state: 'open' }, { signal });
      await delay(random.below(THINK_MS), undefined, { signal });
      for (const { question_id, question } of items) {
        await person.answer(question_id, { answer: answerTo(question) }, { signal });
      }
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}
