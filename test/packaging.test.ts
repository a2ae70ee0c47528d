import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { expect, it, onTestFinished } from 'vitest';
import packageJson from '../package.json' with { type: 'json' };
import { build, isIgnored, readStages } from './helpers/dockerfile.ts';
import { forThisTest } from './helpers/process.ts';
import { scratchFolder } from './helpers/scratch.ts';

/*
 * There may be no Docker where the tests run, so they take the Dockerfile's own steps: copy what it copies, build and install
 * as it does, start what it starts, ask as its health check asks, and stop as `docker stop` stops.
 */

const root = join(import.meta.dirname, '..');
const stages = await readStages();
const [, image = []] = stages;

const all = (name: string) => image.filter(step => step.name === name).map(({ rest }) => rest);
function only(name: string): string {
  const [rest, ...more] = all(name);
  if (rest === undefined || more.length > 0) throw new Error(`The image should have one ${name}.`);
  return rest;
}

const environment = Object.fromEntries(
  all('ENV').flatMap(rest => rest.split(' ').map(pair => pair.split('=') as [string, string])),
);

/** An instruction in exec form, after its flags, with this Node in the place of the image's. */
function command(rest: string): [string, string[]] {
  const [program, ...args] = JSON.parse(rest.slice(rest.indexOf('['))) as string[];
  expect(program).toBe('node');
  return [process.execPath, args];
}

/** Runs a program to its end and answers its exit code and output. It does not outlive the test. */
async function run(program: string, args: string[], options: { cwd: string; env: NodeJS.ProcessEnv }) {
  const child = start(program, args, options);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', text => (output += text));
  const [code] = await once(child, 'close');
  return { code, output };
}

function start(program: string, args: string[], options: { cwd: string; env: NodeJS.ProcessEnv }) {
  const child = spawn(program, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
  const closed = once(child, 'close');
  onTestFinished(async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
    await closed;
  });
  return child;
}

it('builds the package, installs and starts from it, answers its health check and stops at SIGTERM', async () => {
  const { path } = await forThisTest(scratchFolder());
  await mkdir(join(path, 'usr/local/bin'), { recursive: true });
  const shell = async (text: string, cwd: string) => {
    const { code, output } = await run('sh', ['-c', text], { cwd, env: outsideNpm() });
    expect(code, `${text}: ${output}`).toBe(0);
  };
  for (const stage of stages) await build(stage, { image: path, run: shell });

  const app = join(path, 'app');
  expect(all('RUN')).toContain('npm ci --omit=dev --ignore-scripts');
  const packages = await readdir(join(app, 'node_modules'));
  expect(packages).toEqual(expect.arrayContaining(Object.keys(packageJson.dependencies).map(topLevel)));
  expect(packages).not.toEqual(expect.arrayContaining(['vitest']));
  expect(await readdir(app)).not.toEqual(expect.arrayContaining(['src']));
  const bill = JSON.parse(await readFile(join(app, 'sbom.cdx.json'), 'utf8'));
  expect(bill.metadata.component).toMatchObject({ name: 'forumbus', version: packageJson.version });

  const [node, main] = command(only('CMD'));
  const env = {
    PATH: process.env.PATH,
    ...environment,
    HOST: '127.0.0.1',
    ADMIN_TOKEN_FILE: join(path, 'token'),
    BASE_PATH: '/forumbus/',
    PORT: '0',
    DATABASE_URL: `sqlite:${join(path, 'data', 'forumbus.db')}`,
  };
  const { ADMIN_TOKEN_FILE: _, ...open } = env;
  const refused = await run(node, main, { cwd: app, env: { ...open, HOST: '0.0.0.0' } });
  expect(refused).toEqual({ code: 1, output: expect.stringContaining('`forumbus token create --role admin') });
  const generated = await run(join(path, 'usr/local/bin/forumbus'), ['token', 'generate'], { cwd: app, env });
  await writeFile(env.ADMIN_TOKEN_FILE, generated.output);
  const service = start(node, main, { cwd: app, env });
  const exited = once(service, 'exit');
  const log: string[] = [];
  service.stderr.setEncoding('utf8').on('data', text => log.push(text));
  let port: number | undefined;
  for await (const line of createInterface(service.stdout)) {
    log.push(line);
    const { msg, port: listening } = JSON.parse(line);
    if (msg === 'listening') port = listening;
    if (port) break;
  }
  expect(port, log.join('\n')).toBeDefined();
  service.stdout.resume();

  const origin = `http://127.0.0.1:${port}/forumbus`;
  const health = await fetch(`${origin}/bus/health`);
  expect(health.status).toBe(200);
  expect(await health.json()).toMatchObject({ status: 'ok', database: 'ok', worker: { running: true } });
  const listed = async (headers: Record<string, string>) => (await fetch(`${origin}/threads`, { headers })).status;
  expect(await listed({})).toBe(401);
  expect(await listed({ authorization: `Bearer ${generated.output.trim()}` })).toBe(200);

  const [probe, script] = command(only('HEALTHCHECK'));
  const ask = (more: NodeJS.ProcessEnv) =>
    run(probe, script, { cwd: app, env: { PATH: process.env.PATH, PORT: String(port), ...more } });
  expect(await ask({ BASE_PATH: '/forumbus/' })).toEqual({ code: 0, output: '' });
  expect(await ask({})).toEqual({ code: 1, output: '' });

  service.kill('SIGTERM');
  expect(await exited).toEqual([0, null]);
  expect(await ask({ BASE_PATH: '/forumbus' })).toEqual({ code: 1, output: '' });
}, 240_000);

it('starts as npm start does', () => {
  const [, args] = command(only('CMD'));
  const source = args.map(argument => argument.replace('dist/src/', 'src/').replace(/\.js$/, '.ts'));
  const start = `exec env MALLOC_ARENA_MAX=${environment.MALLOC_ARENA_MAX} node`;
  expect([start, ...source].join(' ')).toBe(packageJson.scripts.start);
});

it('runs on the Node that the service needs, and not as root', async () => {
  const dockerfile = await readFile(join(root, 'Dockerfile'), 'utf8');
  const [, major] = /^ARG NODE_IMAGE=node:(\d+)-slim$/m.exec(dockerfile) ?? [];
  expect(await readFile(join(root, 'src/node-floor.cjs'), 'utf8')).toContain(`needed = '${major}.`);
  // One argument pins both stages.
  // biome-ignore lint/suspicious/noTemplateCurlyInString: so Docker names an argument
  expect(stages.map(([from]) => from?.rest.split(' ')[0])).toEqual(['${NODE_IMAGE}', '${NODE_IMAGE}']);
  const steps = image.map(({ name }) => name);
  expect(only('USER')).toBe('node');
  expect(steps.indexOf('USER')).toBeLessThan(steps.indexOf('CMD'));
});

it('keeps its data in the volume and listens on all addresses of the container', () => {
  expect(only('VOLUME')).toBe('/data');
  expect(environment).toMatchObject({ DATABASE_URL: 'sqlite:/data/forumbus.db', HOST: '0.0.0.0' });
  expect(only('EXPOSE')).toBe('4010');
});

it('leaves out of the build what it does not need', async () => {
  const ignored = await isIgnored();
  const left = ['node_modules', 'data', '.git', 'test', 'dist', 'forumbus-token', 'x.db', 'sbom.cdx.json', 'x.tgz'];
  expect(left.filter(name => !ignored(name))).toEqual([]);
});

/** `@scope/name` lies in the folder of its scope. */
function topLevel(name: string): string {
  return name.split('/')[0] as string;
}

/** The environment without what an npm that runs these tests says about their package. */
function outsideNpm(): NodeJS.ProcessEnv {
  const inherited = Object.entries(process.env).filter(
    ([name]) => !/^(npm_(package|lifecycle|config_local_prefix|command)|NODE_ENV$|VITEST|INIT_CWD)/.test(name),
  );
  // Nothing is fetched that a cache holds.
  return { ...Object.fromEntries(inherited), npm_config_prefer_offline: 'true' };
}
