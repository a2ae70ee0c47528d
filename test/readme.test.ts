import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import openapi from '../openapi/openapi.json' with { type: 'json' };
import packageJson from '../package.json' with { type: 'json' };
import { permissions } from '../src/access/permissions.ts';
import { settings } from '../src/config.ts';
import { problemTable } from '../src/errors.ts';

const root = join(import.meta.dirname, '..');
const readme = await readFile(join(root, 'README.md'), 'utf8');

/** The text below a heading, up to the next one of its level. */
function section(title: string): string {
  const [, ...sections] = `\n${readme}`.split(/\n## /);
  const found = sections.find(text => text.startsWith(`${title}\n`));
  if (!found) throw new Error(`The README has no section "${title}".`);
  return found;
}

/** The rows of the first table of a section, without its head. */
function table(title: string): string[][] {
  const lines = section(title)
    .split('\n')
    .filter(line => line.startsWith('|'));
  return lines.slice(2).map(line =>
    line
      .split('|')
      .slice(1, -1)
      .map(cell => cell.trim()),
  );
}

function unique(pattern: RegExp): string[] {
  return [...new Set([...readme.matchAll(pattern)].map(match => match[1] as string))];
}

describe('the README', () => {
  it('lists every setting with its default and meaning', () => {
    expect(table('Configuration')).toEqual(
      settings.map(({ name, default: fallback, description }) => [
        `\`${name}\``,
        fallback === '' ? '(none)' : `\`${fallback}\``,
        description,
      ]),
    );
  });

  it('lists every error code with its status and title', () => {
    expect(table('Error codes')).toEqual(
      Object.entries(problemTable).map(([code, { status, title }]) => [`\`${code}\``, String(status), title]),
    );
  });

  it('lists who may do what', () => {
    const said = (allowed: boolean) => (allowed ? 'yes' : 'no');
    expect(table('Access')).toEqual(
      Object.entries(permissions).map(([operation, rule]) => [
        `\`${operation}\``,
        ...(rule === 'anybody'
          ? ['yes', 'yes', 'yes', 'yes', 'yes']
          : [rule.agent, said(rule.viewer), said(rule.operator), 'yes', 'no']),
      ]),
    );
  });

  it('names only npm scripts that exist, and all of them', () => {
    const named = [...unique(/\bnpm run ([\w:-]+)/g), ...unique(/\bnpm (start|test)\b/g)];
    expect(named.sort()).toEqual(Object.keys(packageJson.scripts).sort());
  });

  it('names only operations that exist', () => {
    const known = Object.entries(openapi.paths).flatMap(([path, methods]) =>
      Object.keys(methods).map(method => `${method.toUpperCase()} ${path}`),
    );
    expect(unique(/`((?:GET|POST|PUT|PATCH|DELETE) \/[^`?\s]*)/g).filter(name => !known.includes(name))).toEqual([]);
  });

  it('names only files and folders that exist', () => {
    const paths = unique(/`((?:src|test|migrations|openapi|\.ci)\/[\w./-]*)`/g);
    expect(paths.length).toBeGreaterThan(10);
    expect(paths.filter(path => !existsSync(join(root, path)))).toEqual([]);
  });

  it('links only to headings and files that exist', () => {
    const anchors = unique(/^#+ (.+)$/gm).map(title =>
      title
        .toLowerCase()
        .replaceAll(/[^\w\s-]/g, '')
        .replaceAll(' ', '-'),
    );
    const links = unique(/\]\(([^)]+)\)/g).filter(link => !link.startsWith('http'));
    const broken = links.filter(link =>
      link.startsWith('#') ? !anchors.includes(link.slice(1)) : !existsSync(join(root, link)),
    );
    expect(broken).toEqual([]);
  });
});

it('OPERATIONS.md names only npm scripts that exist, and links only to headings and files that exist', async () => {
  const page = await readFile(join(root, 'OPERATIONS.md'), 'utf8');
  const scripts = [...page.matchAll(/npm run (?:--silent )?([\w:-]+)/g)].map(([, name]) => name);
  expect(Object.keys(packageJson.scripts)).toEqual(expect.arrayContaining(scripts));
  const headings = [...page.matchAll(/^#+ (.+)$/gm)].map(([, title = '']) => title.toLowerCase().replaceAll(' ', '-'));
  for (const [, file = '', anchor] of page.matchAll(/\]\(([\w.]*)#([\w-]+)\)/g)) {
    if (file) expect(existsSync(join(root, file))).toBe(true);
    else expect(headings).toContain(anchor);
  }
});

it('.ci/run runs the commands that the README names', async () => {
  const script = await readFile(join(root, '.ci/run'), 'utf8');
  const commands = script.split('\n').filter(line => line.startsWith('npm '));
  expect(commands).toEqual(['npm ci', 'npm run check', 'npm test']);
  for (const command of commands) expect(readme).toContain(command);
});
