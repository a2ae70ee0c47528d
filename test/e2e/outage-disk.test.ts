import { existsSync, renameSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { limitFileSize, smallDisk } from '../helpers/disks.ts';
import { handlersFolder } from '../helpers/handlers.ts';
import { expectStored, expectUnavailable, Load } from '../helpers/load.ts';
import { forThisTest, runCommand, type ServiceProcess, spawnService, startService } from '../helpers/process.ts';
import { scratchFolder } from '../helpers/scratch.ts';
import { signal } from '../helpers/signals.ts';

const POLL_INTERVAL_MS = 100;
const TOPIC = 'forum.integration.x';
const within = { timeout: 10_000, interval: 50 };
const completion = (service: ServiceProcess) =>
  service.send('POST', '/control-signals', signal('completion', { run_id: 'other', summary: 'probe' }));

async function start(folder: string, env: Record<string, string> = {}): Promise<ServiceProcess> {
  const settings = { DATABASE_URL: `sqlite:${folder}/forumbus.db`, POLL_INTERVAL_MS: String(POLL_INTERVAL_MS) };
  return startService({ ...settings, ...env });
}

async function expectHealth(service: ServiceProcess, status: string, code?: string): Promise<void> {
  await vi.waitFor(async () => {
    const { body } = await service.send('GET', '/bus/health');
    expect(body.status, JSON.stringify(body)).toBe(status);
    if (code) expect(body.reasons).toContainEqual({ code, detail: expect.stringMatching(/^[A-Z].*\.$/) });
  }, within);
}

/** Nothing can be written, and all the rest goes on. */
async function expectReadOnly(service: ServiceProcess): Promise<void> {
  expectUnavailable(await completion(service));
  await expectHealth(service, 'down', 'DATABASE_NOT_WRITABLE');
  expect((await service.send('GET', '/bus/health')).status).toBe(503);
  expectUnavailable(await service.send('GET', '/readyz'));
  for (const path of ['/livez', '/runs', '/events', '/threads', '/outbox/stats']) {
    expect(await service.send('GET', path)).toMatchObject({ status: 200 });
  }
}

/** A message that becomes due in two seconds. */
async function publishForLater(service: ServiceProcess): Promise<string> {
  const available_at = new Date(Date.now() + 2000).toISOString();
  return (await service.send('POST', '/outbox', { topic: TOPIC, payload: null, available_at })).body.message_id;
}

/** By itself: without another start. */
async function expectHealed(service: ServiceProcess, messageId: string): Promise<void> {
  await vi.waitFor(async () => expect((await completion(service)).status).toBe(201), within);
  await expectHealth(service, 'ok');
  await vi.waitFor(async () => {
    expect((await service.send('GET', `/outbox/${messageId}`)).body.status).toBe('sent');
    const { by_status } = (await service.send('GET', '/outbox/stats')).body;
    expect(by_status).toMatchObject({ pending: 0, processing: 0, failed: 0, dead: 0 });
  }, within);
}

describe('a disk that takes nothing more', () => {
  const handler = { 'x.ts': `export const topic = '${TOPIC}';\nexport function handle(): void {}\n` };

  it.each(['is full', 'refuses that files grow'])(
    'because it %s: nothing is lost, reads go on, and it heals',
    async why => {
      const disk = why === 'is full' ? smallDisk(16) : undefined;
      if (why === 'is full' && !disk) return;
      const folder = disk?.path ?? (await forThisTest(scratchFolder())).path;
      const HANDLERS_DIR = await handlersFolder(handler);
      const service = await start(folder, { HANDLERS_DIR, LEASE_MS: '2000' });
      const origin = await service.listening();
      const message = await publishForLater(service);
      if (disk) disk.fill(300_000);
      else if (!limitFileSize(service.pid, statSync(join(folder, 'forumbus.db-wal')).size + 300_000)) return;

      const fullAt = performance.now();
      const load = new Load(origin);
      await vi.waitUntil(() => load.open.size > 20, within);
      await load.stop();
      expect(load.acknowledged.size).toBeGreaterThan(0);
      // What is still to be had of the disk goes, too.
      await vi.waitFor(async () => expectUnavailable(await completion(service)), within);
      await expectReadOnly(service);
      await expectStored(service, load);
      const repeated = [
        'the worker could not claim messages',
        'a maintenance job failed',
        'an outcome could not be stored',
      ];
      const lines = service.logs.filter(({ msg }) => repeated.includes(msg));
      for (const [name, { length }] of Map.groupBy(lines, ({ msg, job = '' }) => `${msg} ${job}`)) {
        expect(length, name).toBeLessThan(2 + (performance.now() - fullAt) / POLL_INTERVAL_MS);
      }

      if (disk) disk.clear();
      else limitFileSize(service.pid, undefined);
      await expectHealed(service, message);
      expect(service.logs.filter(({ level }) => level >= 60)).toEqual([]);
      await load.repeat();
      await expectStored(service, load);
      service.kill('SIGKILL');
      await service.exited;
      await expectStored(await start(folder), load);
    },
  );

  it('while the log is copied into the file: what was acknowledged stays', async () => {
    const disk = smallDisk(60);
    if (!disk) return;
    const service = await start(disk.path, { ROLE: 'http' });
    const payload = 'x'.repeat(1_000_000);
    const publish = (message_id: string) => service.send('POST', '/outbox', { topic: TOPIC, payload, message_id });
    const stored: string[] = [];
    for (let n = 0; ; n += 1) {
      const answer = await publish(`m-${n}`);
      if (answer.status !== 201) {
        expectUnavailable(answer);
        break;
      }
      stored.push(`m-${n}`);
    }
    const size = (file: string) => statSync(join(disk.path, file)).size;
    // The copying has begun, and has not come to its end.
    expect(size('forumbus.db-wal')).toBeGreaterThan(40_000_000);
    expect(size('forumbus.db')).toBeGreaterThan(5_000_000);
    expect(size('forumbus.db')).toBeLessThan(40_000_000);
    const expectAll = async (running: ServiceProcess) => {
      for (const id of stored) {
        expect((await running.send('GET', `/outbox/${id}`)).body.payload === payload, id).toBe(true);
      }
    };
    await expectAll(service);
    await expectHealth(service, 'down', 'DATABASE_NOT_WRITABLE');
    disk.resize(200);
    await vi.waitFor(async () => expect((await publish('after')).status).toBe(201), within);
    // It can be written again; what was published has no handler.
    await expectHealth(service, 'degraded', 'NO_HANDLER');
    expect(size('forumbus.db')).toBeGreaterThan(40_000_000);
    service.kill('SIGTERM');
    await service.exited;
    await expectAll(await start(disk.path, { ROLE: 'http' }));
  });

  it('at the start: it ends with 1 and one sentence, and starts when there is room', async () => {
    const disk = smallDisk(8);
    if (!disk) return;
    const refused = async () => {
      const service = spawnService({ DATABASE_URL: `sqlite:${disk.path}/forumbus.db` });
      expect(await service.exited, service.output).toEqual({ code: 1, signal: null });
      expect(service.logs.filter(({ level }) => level >= 60).map(({ msg }) => msg)).toEqual([
        expect.stringMatching(/^The database file .* cannot be used: The disk of the database/),
      ]);
    };
    disk.fill();
    await refused();
    disk.clear();
    const service = await start(disk.path);
    const { signal_id } = (await completion(service)).body.signal;
    service.kill('SIGTERM');
    await service.exited;
    disk.fill();
    await refused();
    disk.clear();
    const again = await start(disk.path);
    expect((await again.send('GET', `/control-signals/${signal_id}`)).status).toBe(200);
  });
});

it('a disk that has no room for a second file ends a compaction with 1 and one sentence', async () => {
  const disk = smallDisk(8);
  if (!disk) return;
  const service = await start(disk.path, { ROLE: 'http' });
  for (const payload of ['a', 'b'])
    await service.send('POST', '/outbox', { topic: TOPIC, payload: payload.repeat(700_000) });
  service.kill('SIGTERM');
  await service.exited;
  disk.fill(100_000);
  const { code, logs, output } = await runCommand('compact', [], { DATABASE_URL: `sqlite:${disk.path}/forumbus.db` });
  expect(code, output).toBe(1);
  expect(logs.map(({ msg }) => msg)).toEqual([
    expect.stringMatching(/^The database file .* cannot be used: The disk of the database is full\.$/),
  ]);
});

describe('a folder that disappears', () => {
  it('is told apart from one that is there: nothing is acknowledged that would be gone, and it heals', async () => {
    const { path } = await forThisTest(scratchFolder());
    const [here, away] = [join(path, 'data'), join(path, 'away')];
    const HANDLERS_DIR = await handlersFolder({
      'x.ts': `export const topic = '${TOPIC}';\nexport function handle() {}\n`,
    });
    const service = await start(here, { HANDLERS_DIR });
    const { signal_id } = (await completion(service)).body.signal;
    const message = await publishForLater(service);
    renameSync(here, away);
    await expectReadOnly(service);
    renameSync(away, here);
    await expectHealed(service, message);
    service.kill('SIGKILL');
    await service.exited;
    expect((await (await start(here)).send('GET', `/control-signals/${signal_id}`)).status).toBe(200);
  });
});

describe('a database file that is moved while its service runs', () => {
  it('is asked for by the next start, which would lose what the log beside it holds', async () => {
    const { path } = await forThisTest(scratchFolder());
    const [here, away] = [join(path, 'forumbus.db'), join(path, 'away.db')];
    const service = await start(path);
    const stored = [
      (await completion(service)).body.signal.signal_id,
      (await completion(service)).body.signal.signal_id,
    ];
    renameSync(here, away);
    expectUnavailable(await completion(service));
    service.kill('SIGTERM');
    await service.exited;
    const refused = spawnService({ DATABASE_URL: `sqlite:${here}` });
    expect(await refused.exited, refused.output).toEqual({ code: 1, signal: null });
    expect(refused.logs.filter(({ level }) => level >= 60).map(({ msg }) => msg)).toEqual([
      expect.stringMatching(/^The database file .*forumbus\.db is gone, and .*forumbus\.db-wal holds writes of it: /),
    ]);
    expect(existsSync(here)).toBe(false);
    const doctor = await runCommand('doctor', [], { DATABASE_URL: `sqlite:${here}` });
    expect(doctor.output).toMatch(/problem +database +The database file .* is gone/);
    renameSync(away, here);
    const again = await start(path);
    for (const id of stored) expect((await again.send('GET', `/control-signals/${id}`)).status).toBe(200);
  });
});
