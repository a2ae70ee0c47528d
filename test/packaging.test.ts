import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { describe, expect, it, onTestFinished } from 'vitest';
import packageJson from '../package.json' with { type: 'json' };
import { settings } from '../src/config.ts';
import { forThisTest } from './helpers/process.ts';
import { scratchFolder } from './helpers/scratch.ts';

/*
 * There may be no Docker where the tests run, so they take the Dockerfile's own steps: copy what it copies, install as
 * it installs, start what it starts, ask as its health check asks, and stop as `docker stop` stops.
 */

const root = join(import.meta.dirname, '..');
const dockerfile = parse(await readFile(join(root, 'Dockerfile'), 'utf8'));
const ignored = (await readFile(join(root, '.dockerignore'), 'utf8')).split('\n');

/** The instructions with their arguments, continued lines joined, comments left out. */
function parse(text: string): { name: string; rest: string }[] {
  const lines = text.replaceAll(/^#.*\n/gm, '').replaceAll(/\\\n\s*/g, ' ');
  return lines
    .split('\n')
    .filter(line => line.trim() !== '')
    .map(line => ({ name: line.split(' ')[0] as string, rest: line.slice(line.indexOf(' ') + 1) }));
}

function all(name: string): string[] {
  return dockerfile.filter(instruction => instruction.name === name).map(({ rest }) => rest);
}

function only(name: string): string {
  const [rest, ...more] = all(name);
  if (rest === undefined || more.length > 0) throw new Error(`The Dockerfile should have one ${name}.`);
  return rest;
}

const copied = all('COPY').flatMap(rest => rest.split(' ').slice(0, -1));
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

it('installs and starts from what the image contains, answers its health check and stops at SIGTERM', async () => {
  const { path: app } = await forThisTest(scratchFolder());
  for (const source of copied) await cp(join(root, source), join(app, source), { recursive: true });

  const [install] = all('RUN').filter(rest => rest.startsWith('npm '));
  expect(install).toBe('npm ci --omit=dev --ignore-scripts');
  const [npm, ...args] = (install as string).split(' ') as [string, ...string[]];
  const installed = await run(npm, args, { cwd: app, env: outsideNpm() });
  expect(installed.code, installed.output).toBe(0);
  const packages = await readdir(join(app, 'node_modules'));
  expect(packages).toEqual(expect.arrayContaining(Object.keys(packageJson.dependencies).map(topLevel)));
  expect(packages).not.toEqual(expect.arrayContaining(['vitest']));

  const [node, main] = command(only('CMD'));
  const env = {
    PATH: process.env.PATH,
    ...environment,
    HOST: '127.0.0.1',
    ADMIN_TOKEN_FILE: join(app, 'token'),
    PORT: '0',
    DATABASE_URL: `sqlite:${join(app, 'data', 'forumbus.db')}`,
  };
  const generated = await run(node, ['src/commands/token.ts', 'generate'], { cwd: app, env });
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

  const health = await fetch(`http://127.0.0.1:${port}/bus/health`);
  expect(health.status).toBe(200);
  expect(await health.json()).toMatchObject({ status: 'ok', database: 'ok', worker: { running: true } });
  const listed = async (headers: Record<string, string>) =>
    (await fetch(`http://127.0.0.1:${port}/threads`, { headers })).status;
  expect(await listed({})).toBe(401);
  expect(await listed({ authorization: `Bearer ${generated.output.trim()}` })).toBe(200);

  const [probe, script] = command(only('HEALTHCHECK'));
  const ask = () => run(probe, script, { cwd: app, env: { PATH: process.env.PATH, PORT: String(port) } });
  expect(await ask()).toEqual({ code: 0, output: '' });

  service.kill('SIGTERM');
  expect(await exited).toEqual([0, null]);
  expect(await ask()).toEqual({ code: 1, output: '' });
}, 180_000);

it('starts as npm start does', () => {
  const [, args] = command(only('CMD'));
  expect(['exec node', ...args].join(' ')).toBe(packageJson.scripts.start);
});

it('runs on the Node that the service needs, and not as root', async () => {
  const [, major] = /^node:(\d+)-slim$/.exec(only('FROM')) ?? [];
  expect(await readFile(join(root, 'src/node-floor.cjs'), 'utf8')).toContain(`needed = '${major}.`);
  const steps = dockerfile.map(({ name }) => name);
  expect(only('USER')).toBe('node');
  expect(steps.indexOf('USER')).toBeLessThan(steps.indexOf('CMD'));
});

it('keeps its data in the volume and listens on all addresses of the container', () => {
  expect(only('VOLUME')).toBe('/data');
  expect(environment).toMatchObject({ DATABASE_URL: 'sqlite:/data/forumbus.db', HOST: '0.0.0.0' });
  expect(only('EXPOSE')).toBe('4010');
});

it('leaves out of the build what the image does not need, and nothing that it does', () => {
  expect(ignored).toEqual(expect.arrayContaining(['node_modules', 'data', '.git', 'test']));
  expect(copied.filter(source => ignored.includes(source.replace('./', '')))).toEqual([]);
});

describe('compose.yaml', async () => {
  const compose = await readFile(join(root, 'compose.yaml'), 'utf8');
  /** The text below each key of this indentation, by key. */
  const sections = (text: string, indent: number) =>
    new Map(
      [...text.matchAll(new RegExp(`^ {${indent}}([\\w-]+):(.*(?:\\n(?: {${indent + 1}}.*)?)*)`, 'gm'))].map(
        ([, key = '', rest = '']) => [key, rest],
      ),
    );
  const services = sections(sections(compose, 0).get('services') ?? '', 2);
  const common = sections(compose, 0).get('x-forumbus') ?? '';

  // No YAML library is at hand; these are the mistakes that are easily made and that a parser would refuse.
  it('is YAML: no tabs, even indentation, balanced brackets, each alias with its anchor', () => {
    expect(compose).not.toMatch(/\t| $/m);
    const lines = compose.split('\n').filter(line => !/^\s*(#|$)/.test(line));
    for (const line of lines) {
      expect(line).toMatch(/^( {2})*(- \S.*|\S.*: \S.*|\S*:( &\w+)?)$/);
      expect(line.split('[').length).toBe(line.split(']').length);
      expect((line.match(/"/g) ?? []).length % 2).toBe(0);
    }
    const anchors = [...compose.matchAll(/&(\w+)/g)].map(([, name]) => name);
    for (const [, alias] of compose.matchAll(/: \*(\w+)/g)) expect(anchors).toContain(alias);
  });

  it('has two instances, on ports of their own, that share one PostgreSQL', () => {
    expect([...services.keys()]).toEqual(['forumbus-1', 'forumbus-2', 'postgres']);
    const ports = ['forumbus-1', 'forumbus-2'].map(name => {
      const service = services.get(name) ?? '';
      expect(service).toMatch(/<<: \*forumbus\n/);
      return /ports: \["127\.0\.0\.1:(\d+):4010"\]/.exec(service)?.[1];
    });
    expect(new Set(ports).size).toBe(2);
    expect(ports).not.toContain(undefined);
    const { DATABASE_URL } = /(?<DATABASE_URL>postgres:\/\/.+)/.exec(common)?.groups ?? {};
    const { POSTGRES_USER, POSTGRES_DB } = Object.fromEntries(
      [...(services.get('postgres') ?? '').matchAll(/(POSTGRES_\w+): (\S+)/g)].map(([, name, value]) => [name, value]),
    );
    expect(DATABASE_URL).toContain(`//${POSTGRES_USER}:`);
    expect(DATABASE_URL).toMatch(new RegExp(`@postgres:5432/${POSTGRES_DB}$`));
  });

  it('gives them a token, without which they would not start', () => {
    expect(environment.HOST).toBe('0.0.0.0');
    const [, secret] = /ADMIN_TOKEN_FILE: \/run\/secrets\/([\w-]+)\n/.exec(common) ?? [];
    expect(common).toContain(`secrets: ["${secret}"]`);
    expect(sections(compose, 0).get('secrets')).toMatch(new RegExp(`^\n {2}${secret}:\n {4}file: \\./${secret}\n`));
  });

  it('starts them when the database is healthy, and stops them with room for their grace', () => {
    expect(common).toMatch(/depends_on:\n {4}postgres:\n {6}condition: service_healthy/);
    expect(services.get('postgres')).toMatch(/healthcheck:\n {6}test: \["CMD", "pg_isready"/);
    const grace = settings.find(({ name }) => name === 'SHUTDOWN_GRACE_MS')?.default;
    const [, given = grace] = /SHUTDOWN_GRACE_MS: (\d+)/.exec(common) ?? [];
    const [, seconds] = /stop_grace_period: (\d+)s/.exec(common) ?? [];
    expect(Number(seconds) * 1000).toBeGreaterThan(Number(given));
  });
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
