import { spawnSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { entries } from '../src/hooks/entries.ts';
import { missing } from './helpers/proxies.ts';

/*
 * operations/Caddyfile does what operations/nginx.conf does, which e2e/proxies.test.ts tries as well, where Caddy is
 * installed.
 */

const root = join(import.meta.dirname, '../operations');
const caddy = await readFile(join(root, 'Caddyfile'), 'utf8');
const nginx = await readFile(join(root, 'nginx.conf'), 'utf8');
const reason = missing(['caddy', 'version']);

const first = (text: string, pattern: RegExp) => pattern.exec(text)?.[1];

it('asks the same service, below the same path, with the same settings and patience as nginx', () => {
  expect(first(caddy, /reverse_proxy (1\S+) /)).toBe(first(nginx, /server (127\S+);/));
  expect(first(caddy, /^#\s+(BASE_PATH=.*)$/m)).toBe(first(nginx, /^#\s+(BASE_PATH=.*)$/m));
  expect(first(caddy, /^(\S+) \{$/m)).toBe(first(nginx, /server_name (\S+);/));
  const [, base] = /BASE_PATH=(\S+)/.exec(caddy) ?? [];
  expect(caddy).toContain(`path ${base} ${base}/*\n`);
  const patience = (text: string) => [...text.matchAll(/read_timeout (\w+)/g)].map(([, time]) => time).sort();
  expect(patience(caddy)).toEqual(patience(nginx));
  expect(first(caddy, /keepalive (\S+)/)).toBe(first(nginx, /keepalive_timeout (\S+);/));
  expect(first(caddy, /max_size (\d+)MiB/)).toBe(first(nginx, /client_max_body_size (\d+)m;/));
  expect(caddy).toContain('flush_interval -1\n');
});

it('holds a hook for as long as Claude Code does: with its connection, the question would end', () => {
  const [group] = entries.claude().hooks.PermissionRequest as { hooks: { timeout: number }[] }[];
  const days = (group?.hooks[0]?.timeout ?? 0) / 86_400;
  expect(/location \S+\/hooks\/ \{[^}]* proxy_read_timeout (\d+)d;/.exec(nginx)?.[1]).toBe(String(days));
  expect(/reverse_proxy \S+\/hooks\/\* [^}]*\tread_timeout (\d+)d/.exec(caddy)?.[1]).toBe(String(days));
});

it('has balanced blocks, indented by tabs as Caddy formats them', () => {
  let depth = 0;
  for (const line of caddy.split('\n').filter(text => text !== '')) {
    if (line === '}' || line.trim() === '}') depth -= 1;
    expect(line).toMatch(new RegExp(`^\t{${depth}}\\S`));
    if (!/^\s*#/.test(line) && line.endsWith(' {')) depth += 1;
  }
  expect(depth).toBe(0);
});

it.runIf(reason === '')(`Caddy finds no fault${reason}`, async () => {
  const args = ['validate', '--adapter', 'caddyfile', '--config', join(root, 'Caddyfile')];
  const { status, stderr } = spawnSync('caddy', args, { encoding: 'utf8' });
  expect({ status, stderr }).toMatchObject({ status: 0 });
});
