import { execFile } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Forumbus, type Question } from '../../src/client/index.ts';
import type { Bench } from './bench.ts';

import { memoryOf } from './memory-of.ts';
import type { Subject } from './processes.ts';
import { cpuOf } from './usage.ts';
import type { WaitingFigures } from './waiting-agents.ts';

/** Processes that the agents share. */
const PROCESSES = 4;
/** Waits of the short limit, and of the library's own. Seconds. */
const SHORT = 10;
const OWN = 50;
/** What a night is. */
const HOURS = 8;
/** Characters of a token. */
const TOKEN = 4;
/** Answers that are being sent at the same time. */
const AT_ONCE = 20;

const cli = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));

/** (g) What many waiting agents cost the service, and what an agent reads of it. */
export async function waiting(bench: Bench): Promise<void> {
  const { report, folder, options, processes } = bench;
  const count = options.quick ? 200 : 2000;
  report.section(`(g) ${count.toLocaleString('en')} agents wait for answers, on SQLite`);
  const service = await processes.service({
    name: '(g) SQLite',
    databaseUrl: `sqlite:${folder}/g.db`,
    handler: 'none',
    env: { WAITS_PER_CALLER: String(2 * count), RATE_LIMIT_PER_MINUTE: '0', MAX_EVENT_LOOP_DELAY_MS: '0' },
  });
  const url = `http://127.0.0.1:${service.port}`;
  const idle = await cpuShare(service, options.quick ? 5 : 20);
  const before = memoryOf(service.pid)?.now ?? 0;
  report.row('CPU without a waiter', percent(idle));

  const each = count / PROCESSES;
  const groups = await Promise.all(
    Array.from({ length: PROCESSES }, (_, index) =>
      processes.worker('waiting-process.ts', [url, String(index * each), String(each), String(SHORT)]),
    ),
  );
  // All that are to wait do so.
  await delay(SHORT * 1000);
  const measured = async (limit: number, seconds: number) => {
    const [sent, cpu, began] = [await figuresOf(groups), cpuOf(service.pid), performance.now()];
    await delay(seconds * 1000);
    const took = (performance.now() - began) / 1000;
    const requests = (await figuresOf(groups)).requests - sent.requests;
    const used = cpuOf(service.pid) - cpu;
    const perRequest = (used - idle * took) / requests;
    const hours = (count * took) / 3600;
    report.row(`waits of ${limit} s: CPU`, percent(used / took));
    report.row('requests of a waiter in an hour', (requests / hours).toFixed(0));
    report.row('CPU of a waiter in an hour', `${((1000 * (used - idle * took)) / hours).toFixed(1)} ms`);
    report.row('CPU of a request', `${(perRequest * 1e6).toFixed(0)} µs`);
    return perRequest;
  };
  const perRequest = await measured(SHORT, options.quick ? SHORT : 6 * SHORT);
  const requests = (HOURS * 3600) / OWN;
  report.note(
    `So ${HOURS} hours in waits of ${OWN} s are ${requests} requests and ${(perRequest * requests * 1000).toFixed(0)} ms of CPU for each agent.`,
  );
  if (!options.quick) {
    for (const group of groups) group.tell({ limit: OWN });
    await delay((SHORT + OWN) * 1000);
    await measured(OWN, 2 * OWN);
  }
  const after = memoryOf(service.pid)?.now ?? 0;
  report.row(
    'memory, and of each waiter',
    `${after.toFixed(0)} MiB, ${((1024 * (after - before)) / count).toFixed(0)} KiB`,
  );

  const began = performance.now();
  await answerAll(url);
  let answered = 0;
  while (answered < count) {
    await delay(20);
    ({ answered } = await figuresOf(groups));
  }
  report.row('waits lost', String((await figuresOf(groups)).lost));
  report.row('answers sent and received', `${answered} in ${((performance.now() - began) / 1000).toFixed(1)} s`);
  await tokens(bench, url);
  for (const group of groups) await processes.stop(group);
  await processes.stop(service);
}

async function figuresOf(groups: readonly Subject[]): Promise<WaitingFigures> {
  const figures = await Promise.all(
    groups.map(group => {
      const said = group.message<WaitingFigures>();
      group.tell({});
      return said;
    }),
  );
  const sum = (name: keyof WaitingFigures) => figures.reduce((total, one) => total + one[name], 0);
  return { requests: sum('requests'), lost: sum('lost'), answered: sum('answered') };
}

/** @returns CPU seconds a second */
async function cpuShare(service: Subject, seconds: number): Promise<number> {
  const [cpu, began] = [cpuOf(service.pid), performance.now()];
  await delay(seconds * 1000);
  return ((cpuOf(service.pid) - cpu) * 1000) / (performance.now() - began);
}

async function answerAll(url: string): Promise<void> {
  const person = new Forumbus({ url });
  const open: Question[] = [];
  for (let cursor: string | undefined; ; ) {
    const page = await person.questions({ state: 'open', limit: 200, ...(cursor !== undefined && { cursor }) });
    open.push(...page.items);
    if (page.next_cursor === null) break;
    cursor = page.next_cursor;
  }
  const answerer = async () => {
    for (let next = open.pop(); next; next = open.pop()) await person.answer(next.question_id, { answer: 'eu-west-1' });
  };
  await Promise.all(Array.from({ length: AT_ONCE }, answerer));
}

/** What a model reads: the words of the command line and of the MCP tools. */
async function tokens({ report }: Bench, url: string): Promise<void> {
  const person = new Forumbus({ url });
  const answer = async () => {
    const { items } = await person.questions({ state: 'open' });
    for (const { question_id } of items) await person.answer(question_id, { selected: ['eu-west-1'] });
  };
  const command = () => said(['ask', 'Which region?', '-o', 'eu-west-1', '-o', 'us-east-1', '--wait', '1s'], url);
  const tool = () => called(url, { question: 'Which zone?', options: ['eu-west-1', 'us-east-1'], wait_seconds: 1 });
  for (const [name, read] of [
    ['the command line', command],
    ['the MCP tool', tool],
  ] as const) {
    const open = await read();
    await answer();
    const answered = await read();
    report.row(`tokens of ${name}: still open, answered`, `${tokensOf(open)}, ${tokensOf(answered)}`);
  }
}

function tokensOf(text: string): number {
  return Math.ceil(text.length / TOKEN);
}

/** What a command prints. */
async function said(args: string[], url: string): Promise<string> {
  const env = { PATH: process.env.PATH, FORUMBUS_URL: url, FORUMBUS_RUN: 'tokens', FORUMBUS_AGENT: 'builder' };
  return new Promise(resolve => {
    execFile(process.execPath, [cli, ...args], { env }, (_, stdout, stderr) => resolve((stdout + stderr).trim()));
  });
}

/** The text of the tool `ask`. */
async function called(url: string, args: object): Promise<string> {
  const response = await fetch(`${url}/mcp?run=tokens&agent=builder`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream' },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'ask', arguments: args } }),
  });
  const [, text = ''] = /"text":"((?:[^"\\]|\\.)*)"/.exec(await response.text()) ?? [];
  return text;
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} % of a core`;
}
