import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseDocument } from 'yaml';
import { settings } from '../src/config.ts';

/* There may be no Docker where the tests run. This reads the files as YAML, and holds them against the image. */

// biome-ignore lint/suspicious/noExplicitAny: what a file holds is what this looks at
type Any = any;

const root = join(import.meta.dirname, '..');
const dockerfile = await readFile(join(root, 'Dockerfile'), 'utf8');

async function read(file: string): Promise<Any> {
  const document = parseDocument(await readFile(join(root, file), 'utf8'), { strict: true, merge: true });
  expect([...document.errors, ...document.warnings]).toEqual([]);
  return document.toJS();
}

const files = ['compose.yaml', 'compose.sqlite.yaml'];

describe.each(files)('%s', async file => {
  const compose = await read(file);
  const services: [string, Any][] = Object.entries(compose.services);
  const ours = services.filter(([, { build }]) => build === '.').map(([, service]) => service);

  it('gives each instance a token, without which it would not start', () => {
    expect(dockerfile).toContain('HOST=0.0.0.0');
    expect(ours.length).toBeGreaterThan(0);
    for (const { environment, secrets } of ours) {
      const [secret] = secrets;
      expect(environment.ADMIN_TOKEN_FILE).toBe(`/run/secrets/${secret}`);
      expect(compose.secrets[secret]).toEqual({ file: `./${secret}` });
    }
  });

  it('publishes the port of the image on loopback, once each', () => {
    const [, exposed] = /^EXPOSE (\d+)$/m.exec(dockerfile) ?? [];
    const published = ours.flatMap(({ ports }) => ports as string[]);
    expect(published).toHaveLength(ours.length);
    for (const port of published) expect(port).toMatch(new RegExp(`^127\\.0\\.0\\.1:\\d+:${exposed}$`));
    expect(new Set(published).size).toBe(published.length);
  });

  it('stops instances with room for their grace, and sets nothing that is no setting', () => {
    const grace = settings.find(({ name }) => name === 'SHUTDOWN_GRACE_MS')?.default;
    for (const { environment, stop_grace_period } of ours) {
      expect(Number.parseInt(stop_grace_period, 10) * 1000).toBeGreaterThan(Number(grace) + 2000);
      const names = settings.map(({ name }) => name);
      expect(Object.keys(environment).filter(name => !names.includes(name))).toEqual([]);
    }
  });

  it('lets no container write its root, gain privileges or take all memory', () => {
    for (const [name, service] of services) {
      expect(service, name).toMatchObject({
        read_only: true,
        cap_drop: ['ALL'],
        security_opt: ['no-new-privileges:true'],
        mem_limit: expect.stringMatching(/^\d+[mg]$/),
        tmpfs: expect.arrayContaining(['/tmp']),
      });
    }
    for (const service of ours) expect(service).not.toHaveProperty('cap_add');
  });

  it('names volumes that it declares', () => {
    const named = services.flatMap(([, { volumes = [] }]) => volumes as string[]).map(volume => volume.split(':')[0]);
    expect(named).toEqual(Object.keys(compose.volumes));
  });
});

it('compose.yaml has two instances that share one PostgreSQL, and start once it is healthy', async () => {
  const { services } = await read('compose.yaml');
  expect(Object.keys(services)).toEqual(['forumbus-1', 'forumbus-2', 'postgres']);
  const { POSTGRES_USER, POSTGRES_DB, POSTGRES_PASSWORD } = services.postgres.environment;
  for (const name of ['forumbus-1', 'forumbus-2']) {
    const { environment, depends_on } = services[name];
    expect(environment.DATABASE_URL).toBe(
      `postgres://${POSTGRES_USER}:${POSTGRES_PASSWORD}@postgres:5432/${POSTGRES_DB}`,
    );
    expect(depends_on).toEqual({ postgres: { condition: 'service_healthy' } });
  }
  expect(services.postgres.healthcheck.test.slice(0, 2)).toEqual(['CMD', 'pg_isready']);
});

it('compose.sqlite.yaml has one instance, with its file in a volume that the image declares', async () => {
  const { services } = await read('compose.sqlite.yaml');
  expect(Object.keys(services)).toEqual(['forumbus']);
  const [, volume] = /^VOLUME (\S+)$/m.exec(dockerfile) ?? [];
  expect(services.forumbus.volumes).toEqual([`forumbus:${volume}`]);
  expect(dockerfile).toContain(`DATABASE_URL=sqlite:${volume}/`);
});
