import { readFile } from 'node:fs/promises';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { maskedConfig, maskedUrl, misspelt, readConfig, settings } from '../src/config.ts';

const names = settings.map(({ name }) => name);

it.each([
  ['DATABSE_URL', 'DATABASE_URL'],
  ['DATABASE_URI', 'DATABASE_URL'],
  ['database_url', 'DATABASE_URL'],
  ['FORUMBUS_DATABASE_URL', 'DATABASE_URL'],
  ['FORUMBUS_PORT', 'PORT'],
  ['LOGLEVEL', 'LOG_LEVEL'],
  ['HANDLER_DIR', 'HANDLERS_DIR'],
  ['PROT', 'PORT'],
  ['port', 'PORT'],
])('%s is taken for a misspelt %s', (name, meant) => {
  expect(misspelt({ [name]: 'x' })).toEqual([`The variable ${name} is no setting; ${meant} is.`]);
});

it.each([
  [{ PORT: 'abc' }, 'PORT is wrong: it must be a whole number, not abc.'],
  [{ PORT: '70000' }, 'PORT is wrong: it must be at most 65535, not 70000.'],
  [{ LEASE_MS: '1' }, 'LEASE_MS is wrong: it must be at least 300, not 1.'],
  [{ ROLE: 'boss' }, 'ROLE is wrong: it must be one of all, http, worker, not boss.'],
  [
    { BASE_PATH: 'forumbus' },
    'BASE_PATH is wrong: it must be: Path below which the service answers, such as `/forumbus`',
  ],
  [
    { PUBLIC_URL: 'me:pw@x' },
    'PUBLIC_URL is wrong: it must be: Address at which people reach the service, such as `https',
  ],
  [
    { CORS_ORIGINS: 'x' },
    'CORS_ORIGINS is wrong: it must be: Origins whose web pages may call the service, such as `https',
  ],
  [
    { DATABASE_URL: 'mysql://me:pw@x/y' },
    'DATABASE_URL is wrong: it must be: `sqlite:<file>` or `postgres://user:password@host:port/database`.',
  ],
])('says in plain words what is wrong with %j, and no password', (environment, sentence) => {
  const read = () => readConfig({ DATABASE_URL: 'sqlite:x.db', ...environment });
  expect(read).toThrow(`The setting ${sentence}`);
  expect(read).not.toThrow(/pw|\.\.$/);
});

it.each(['docs/hooks.md', 'docs/agents.md', 'docs/mcp.md'])('knows the variables of %s', async file => {
  const text = await readFile(new URL(`../${file}`, import.meta.url), 'utf8');
  const named = [...new Set(text.match(/\bFORUMBUS_[A-Z_]+/g))];
  expect(named.length).toBeGreaterThan(1);
  expect(misspelt(Object.fromEntries(named.map(name => [name, 'x'])))).toEqual([]);
});

it('names what begins with FORUMBUS_ and resembles nothing', () => {
  expect(misspelt({ FORUMBUS_COLOUR: 'red' })).toEqual(['The variable FORUMBUS_COLOUR is no setting.']);
});

it.each([...names, 'FORUMBUS_URL', 'FORUMBUS_TOKEN', 'PATH', 'HOME', 'HOSTNAME', 'POST', 'SHELL', 'PGHOST', 'TZ'])(
  'says nothing about %s',
  name => {
    expect(misspelt({ [name]: 'x' })).toEqual([]);
  },
);

it('finds any longer name with a letter too many, too few, another or exchanged', () => {
  const long = names.filter(name => name.length > 6);
  const slip = fc.constantFrom('leave out', 'put in', 'replace', 'exchange');
  fc.assert(
    fc.property(fc.constantFrom(...long), fc.nat(), slip, (name, position, kind) => {
      const at = position % (name.length - 1);
      const [before, here = '', next = '', after] = [name.slice(0, at), name[at], name[at + 1], name.slice(at + 2)];
      const written = {
        'leave out': before + next + after,
        'put in': `${before}${here}X${next}${after}`,
        replace: `${before}Y${next}${after}`,
        exchange: before + next + here + after,
      }[kind];
      fc.pre(!names.includes(written));
      expect(misspelt({ [written]: 'x' })).toHaveLength(1);
    }),
  );
});

it('takes a blank value for one that is not set', () => {
  const blank = Object.fromEntries(settings.map(({ name }) => [name, ' \t']));
  expect(readConfig(blank)).toEqual(readConfig({}));
});

it('takes a comma in PUBLIC_URL for a part of it, and refuses what is no URL', () => {
  expect(readConfig({ PUBLIC_URL: 'https://forum.example/a,b' }).PUBLIC_URL).toBe('https://forum.example/a,b');
  expect(() => readConfig({ PUBLIC_URL: 'https://[' })).toThrow('PUBLIC_URL is wrong: https://[ is no URL.');
  expect(() => readConfig({ CORS_ORIGINS: 'https://a.example,https://[' })).toThrow('https://[ is no URL.');
});

it('shows no secret in the log', () => {
  const config = readConfig({
    ...{ DATABASE_URL: 'postgres://ana:pass-1@db/forumbus', PUBLIC_URL: 'https://forum.example.org' },
    ...{ OIDC_ISSUER: 'https://login.example.org', OIDC_CLIENT_ID: 'forumbus', OIDC_CLIENT_SECRET: 'pass-2' },
    OIDC_VIEWERS: 'all',
  });
  const shown = maskedConfig(config);
  expect(shown).toMatchObject({ DATABASE_URL: 'postgres://ana:***@db/forumbus', OIDC_CLIENT_SECRET: '***' });
  expect(JSON.stringify(shown)).not.toContain('pass-');
});

it.each([
  ['ana@corp:pass-1@db/forumbus', 'ana@corp:***@db/forumbus'],
  ['ana:pa:ss-@1/?pass-2@db/forumbus', 'ana:***@db/forumbus'],
  ['ana@db:5432/forumbus', 'ana@db:5432/forumbus'],
  ['db/forumbus?user=ana&password=pass-1&password=pass-2', 'db/forumbus?user=***&password=***&password=***'],
  ['db/forumbus?pass%77ord=pass-1', 'db/forumbus?pass%77ord=***'],
])('masks the password in a URL of PostgreSQL: %s', (url, shown) => {
  expect(maskedUrl(`postgres://${url}`)).toBe(`postgres://${shown}`);
});
