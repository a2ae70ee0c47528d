import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = join(import.meta.dirname, '..');

/** Which folders of src a folder may import from, besides itself and the single files at the top. */
const arrows: Record<string, string[]> = {
  db: ['migrations'],
  http: ['db'],
  access: ['db', 'http'],
  audit: ['db', 'http'],
  idempotency: ['db'],
  events: ['access', 'db', 'http'],
  search: ['db'],
  threads: ['access', 'db', 'http', 'events', 'search'],
  control: ['access', 'db', 'http', 'events', 'threads'],
  questions: ['access', 'db', 'http', 'events', 'search', 'threads', 'control'],
  inbox: ['access', 'db', 'http', 'events', 'threads', 'control', 'questions'],
  signals: ['access', 'db', 'http', 'events', 'threads', 'control', 'questions'],
  stats: ['db', 'http', 'threads', 'questions'],
  subscriptions: ['db', 'http', 'events'],
  outbox: ['db', 'http', 'events', 'subscriptions'],
  runs: ['access', 'db', 'http', 'events', 'threads', 'control', 'questions'],
  lifecycle: [
    ...['access', 'db', 'http', 'idempotency', 'events', 'search', 'threads', 'control', 'questions', 'inbox', 'runs'],
    ...['subscriptions', 'outbox', 'webhooks'],
  ],
  worker: ['db', 'http', 'events', 'subscriptions', 'outbox'],
  health: ['db', 'http', 'subscriptions', 'outbox', 'worker'],
  links: ['access', 'db', 'http', 'questions', 'signals'],
  webhooks: ['links', 'db', 'http', 'events', 'threads', 'questions', 'subscriptions', 'outbox', 'worker'],
  mcp: ['client', 'access', 'db', 'http', 'events', 'threads', 'control', 'questions', 'inbox', 'signals', 'runs'],
  topics: ['db', 'http', 'events', 'subscriptions', 'threads', 'signals', 'worker'],
  backup: ['db', 'events'],
  oidc: ['access', 'db', 'http', 'page'],
  doctor: ['access', 'oidc', 'db', 'events', 'subscriptions', 'outbox', 'topics', 'worker', 'hooks', 'cli'],
  commands: [
    ...[
      'db',
      'http',
      'access',
      'events',
      'search',
      'threads',
      'control',
      'questions',
      'inbox',
      'runs',
      'subscriptions',
    ],
    ...['outbox', 'lifecycle', 'worker', 'backup', 'doctor'],
  ],
  // Types only: it runs in browsers.
  client: [
    ...['access', 'audit', 'http', 'events', 'threads', 'control', 'questions', 'inbox', 'signals', 'runs'],
    ...['stats', 'outbox', 'subscriptions', 'webhooks', 'worker'],
  ],
  hooks: ['access', 'http', 'client'],
  cli: ['client', 'mcp', 'hooks'],
  adapters: ['client'],
  // What runs in the browser uses the client only.
  page: ['access', 'db', 'http', 'client'],
  metrics: [
    ...['db', 'http', 'events', 'subscriptions', 'control', 'questions', 'inbox', 'signals', 'outbox', 'worker'],
    ...['webhooks', 'health'],
  ],
};

/** Files at the top of src that put everything together. */
const roots = ['app.ts', 'handler.ts', 'main.ts', 'schema-registry.ts', 'services.ts'];

interface Import {
  from: string;
  to: string;
  /** Gone when the code runs. */
  typeOnly: boolean;
}

const files = ['src', 'migrations'].flatMap(folder =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter(name => name.endsWith('.ts'))
    .map(name => join(folder, name)),
);

const imports = files.flatMap((from): Import[] => {
  const text = readFileSync(join(root, from), 'utf8');
  return [...text.matchAll(/^import (type )?(?:([^;]*?) from )?'([^']+)'/gm)].map(
    ([, type, names = '', target = '']) => ({
      from,
      to: target.startsWith('.') ? relative(root, join(root, dirname(from), target)) : target,
      typeOnly: type !== undefined || /^\{(\s*type \w+,?)+\s*\}$/.test(names),
    }),
  );
});

const folderOf = (file: string): string | undefined => /^(?:src\/)?(\w+)\/(?:\w+\/)?[\w.-]+$/.exec(file)?.[1];

describe('the direction of dependencies', () => {
  it('finds the imports that it judges', () => {
    expect(imports.length).toBeGreaterThan(200);
    expect(imports).toContainEqual({ from: 'src/questions/routes.ts', to: 'src/questions/waiting.ts', typeOnly: true });
  });

  it('follows the arrows between folders', () => {
    const wrong = imports.filter(({ from, to }) => {
      const [source, target] = [folderOf(from), folderOf(to)];
      if (!source || source === 'src' || source === 'migrations' || !target || target === 'src' || source === target)
        return false;
      return /^(src|migrations)\//.test(to) && !arrows[source]?.includes(target);
    });
    expect(wrong).toEqual([]);
  });

  it('has no arrow back up between folders', () => {
    const order: string[] = [];
    const visit = (folder: string, path: string[]) => {
      if (path.includes(folder)) throw new Error(`a circle of folders: ${[...path, folder].join(' -> ')}`);
      if (order.includes(folder)) return;
      for (const target of arrows[folder] ?? []) visit(target, [...path, folder]);
      order.push(folder);
    };
    for (const folder of Object.keys(arrows)) visit(folder, []);
  });

  it('lets nothing import the files that put everything together, nor migrations import src', () => {
    const isRoot = (file: string) => roots.some(name => file === `src/${name}`);
    expect(imports.filter(({ from, to }) => isRoot(to) && !isRoot(from))).toEqual([]);
    expect(imports.filter(({ from, to }) => from.startsWith('migrations/') && to.startsWith('src/'))).toEqual([]);
  });

  it('loads the libraries of MCP and mail only when they are needed: they take 13 MiB', () => {
    const rare = ['nodemailer', '@modelcontextprotocol/server', 'src/mcp/server.ts'];
    const early = imports.filter(({ to, typeOnly }) => rare.includes(to) && !typeOnly);
    expect(early.map(({ from, to }) => `${from} ${to}`)).toEqual(['src/mcp/server.ts @modelcontextprotocol/server']);
  });

  it('goes through services: no feature touches the repository of another', () => {
    const wrong = imports.filter(({ from, to }) => /repository\.ts$/.test(to) && dirname(from) !== dirname(to));
    expect(wrong).toEqual([]);
  });

  it('keeps the engines apart: only what opens and copies databases knows one of them', () => {
    const users = (engine: string) =>
      imports
        .filter(({ from, to }) => to.startsWith(`src/db/${engine}/`) && !from.startsWith(`src/db/${engine}/`))
        .map(({ from }) => from);
    expect([...new Set(users('postgres'))].toSorted()).toEqual(['src/db/open.ts']);
    expect([...new Set(users('sqlite'))].toSorted()).toEqual([
      'src/backup/backup.ts',
      'src/backup/compact.ts',
      'src/backup/files.ts',
      'src/backup/restore.ts',
      'src/backup/verify.ts',
      'src/db/open.ts',
    ]);
  });

  it('makes statements as constants of their modules, or each use would compile anew', () => {
    const isInside = (text: string) => /^[ \t]+.*\b(statement|new Statement)\(/m.test(text);
    const inside = files.filter(file => isInside(readFileSync(join(root, file), 'utf8')));
    // The maker itself; one per table; one per engine; one per number of subscriptions; one per table and engine. Each is
    // made once.
    expect(inside).toEqual([
      ...['src/db/statement.ts', 'src/db/upsert.ts', 'src/events/repository.ts'],
      ...['src/outbox/delivery-repository.ts', 'src/search/repository.ts'],
    ]);
  });

  it('keeps SQL in repositories and in db, and Fastify in routes and in http', () => {
    const outside = (library: RegExp, allowed: RegExp) =>
      imports.filter(({ from, to, typeOnly }) => !typeOnly && library.test(to) && !allowed.test(from));
    expect(outside(/^(kysely|pg|better-sqlite3)\b/, /^(migrations|src\/db)\/|repository\.ts$/)).toEqual([]);
    expect(outside(/^@?fastify\b/, /^src\/(http\/|app\.ts)|\/routes\.ts$/)).toEqual([]);
  });

  it('lets the client run without Node and without dependencies', () => {
    const needed = imports.filter(({ from, typeOnly }) => folderOf(from) === 'client' && !typeOnly);
    expect(needed.filter(({ to }) => folderOf(to) !== 'client')).toEqual([]);
  });

  it('lets adapters use the client, and only types of their frameworks', () => {
    const needed = imports.filter(({ from, typeOnly }) => folderOf(from) === 'adapters' && !typeOnly);
    const others = needed.filter(({ to }) => to !== 'src/client/index.ts' && folderOf(to) !== 'adapters');
    expect(others).toEqual([]);
  });

  it('keeps adapters short, to be read and copied', () => {
    const lines = files
      .filter(file => folderOf(file) === 'adapters')
      .map(file => readFileSync(join(root, file), 'utf8').trimEnd().split('\n').length);
    expect(lines.length).toBeGreaterThanOrEqual(4);
    expect(Math.max(...lines)).toBeLessThanOrEqual(60);
  });

  it('keeps the metrics library in one folder', () => {
    const users = imports.filter(({ from, to }) => to === '@prometheus-io/client' && folderOf(from) !== 'metrics');
    expect(users).toEqual([]);
  });

  it('keeps the worker free of HTTP, SQL and topics', () => {
    const known = imports.filter(({ from }) => from === 'src/worker/worker.ts').map(({ to }) => to);
    expect(known.toSorted()).toEqual([
      'node:timers/promises',
      'src/clock.ts',
      'src/logging.ts',
      'src/outbox/leased-delivery.ts',
      'src/outbox/outcome.ts',
      'src/worker/backoff.ts',
      'src/worker/cancellation.ts',
      'src/worker/dispatcher.ts',
      'src/worker/handler.ts',
      'src/worker/outcome-batcher.ts',
      'src/worker/throughput.ts',
    ]);
  });

  it('has no circles', () => {
    const edges = Map.groupBy(
      imports.filter(({ typeOnly, to }) => !typeOnly && to.startsWith('src/')),
      ({ from }) => from,
    );
    const circle = (file: string, path: string[]): string[] | undefined => {
      if (path.includes(file)) return [...path, file];
      for (const { to } of edges.get(file) ?? []) {
        const found = circle(to, [...path, file]);
        if (found) return found;
      }
      return undefined;
    };
    for (const file of files) expect(circle(file, [])).toBeUndefined();
  });
});

describe('the environment', () => {
  it('is read by main.ts and the commands only', () => {
    const readers = files.filter(file => /process\.env\b/.test(readFileSync(join(root, file), 'utf8')));
    expect(readers.toSorted()).toEqual([
      'src/cli/main.ts',
      'src/commands/command.ts',
      'src/commands/doctor.ts',
      'src/commands/handler.ts',
      'src/main.ts',
    ]);
  });
});

describe('the tests', () => {
  it('mirror src: a test is named after the file that it tries', () => {
    const names = new Set(files.map(file => file.replace(/^src\//, '').replace(/\.ts$/, '')));
    // Whole processes, generated requests, the bench, documents and what several files share have rooms of their own.
    const ownRooms = /^(e2e|fuzz|verify|bench|docs|helpers)\//;
    const strangers = readdirSync(join(root, 'test'), { recursive: true, encoding: 'utf8' })
      .filter(name => name.endsWith('.test.ts') && name.includes('/') && !ownRooms.test(name))
      .map(name => name.replace(/\.test\.ts$/, ''))
      .filter(
        name => !names.has(dirname(name)) && ![...names].some(file => name === file || name.startsWith(`${file}-`)),
      );
    expect(strangers).toEqual([]);
  });
});
