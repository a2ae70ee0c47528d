import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { startApp } from '../helpers/app.ts';
import { forThisTest } from '../helpers/process.ts';
import { scratchFolder } from '../helpers/scratch.ts';
import { listen } from '../helpers/socket.ts';

/* What others generate from the document: the types of openapi-typescript, for the client of openapi-fetch. */

const root = join(import.meta.dirname, '../..');
const modules = join(root, 'node_modules');

/** A program that asks, answers, reads the answer and follows the log. The wrong lines must not compile. */
const PROGRAM = `
import createClient from 'openapi-fetch';
import type { components, paths } from './api.d.ts';

const client = createClient<paths>({ baseUrl: String(process.argv[2]) });
const agent = { run_id: 'run-7', agent_name: 'builder' };

const asked = await client.POST('/control-signals', {
  params: { header: { 'idempotency-key': 'region' } },
  body: {
    schema_version: 1,
    control_type: 'guidance_request',
    ...agent,
    question: 'Which region?',
    options: ['eu-west-1', { label: 'us-east-1' }],
  },
});
const question_id = asked.data?.question?.question_id;
if (question_id === undefined) throw new Error(asked.error?.detail);
const path = { question_id };

const answer = await client.PUT('/questions/{question_id}/answer', { params: { path }, body: { selected: ['eu-west-1'] } });
const late = await client.PUT('/questions/{question_id}/answer', { params: { path }, body: { selected: ['us-east-1'] } });
const isLate: boolean = late.error?.code === 'ALREADY_ANSWERED';
// @ts-expect-error: no operation refuses with this code
const isOdd: boolean = late.error?.code === 'NO_SUCH_CODE';
// @ts-expect-error: an answer is text
await client.PUT('/questions/{question_id}/answer', { params: { path }, body: { answer: 7 } });

const read = await client.GET('/questions/{question_id}', { params: { path, query: { wait: 1 } } });
const events = await client.GET('/events', { params: { query: { run_id: agent.run_id } } });
const told = (events.data?.items ?? []).flatMap((event: components['schemas']['Event']) =>
  // The type of the event decides on its payload.
  event.event_type === 'forum.question.answered' ? [event.payload.selected] : [],
);
console.log(JSON.stringify({ first: answer.data?.version, isLate, isOdd, selected: read.data?.selected, told }));
`;

/** Runs this Node to its end. @returns what it printed */
async function run(args: string[], cwd: string): Promise<string> {
  const child = spawn(process.execPath, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'] });
  onTestFinished(() => void child.kill('SIGKILL'));
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', text => (output += text));
  const [code] = await once(child, 'close');
  expect(code, output).toBe(0);
  return output;
}

it('a client with types of the document compiles, asks, answers and reads the answer', async () => {
  const { path: folder } = await forThisTest(scratchFolder());
  await symlink(modules, join(folder, 'node_modules'));
  const preload = join(root, 'test/helpers/typescript-5.ts');
  const generator = join(modules, 'openapi-typescript/bin/cli.js');
  const document = join(root, 'openapi/openapi.json');
  await run(['--import', preload, generator, document, '-o', 'api.d.ts'], folder);

  await writeFile(join(folder, 'package.json'), '{ "type": "module" }');
  await writeFile(join(folder, 'program.ts'), PROGRAM);
  const strict = ['--strict', '--exactOptionalPropertyTypes', '--noUncheckedIndexedAccess', '--skipLibCheck', 'false'];
  const target = ['--module', 'nodenext', '--target', 'es2024', '--lib', 'es2024,dom', '--types', 'node'];
  const options = [...strict, ...target, '--allowImportingTsExtensions', '--rewriteRelativeImportExtensions'];
  await run([join(modules, 'typescript/bin/tsc'), ...options, '--outDir', 'built', 'program.ts'], folder);

  const service = await startApp('sqlite');
  onTestFinished(service.close);
  const url = `http://127.0.0.1:${await listen(service.app)}`;
  expect(JSON.parse(await run([join(folder, 'built/program.js'), url], folder))).toEqual({
    first: 2,
    isLate: true,
    isOdd: false,
    selected: ['eu-west-1'],
    told: [['eu-west-1']],
  });
}, 180_000);
