import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname, join, normalize } from 'node:path';
import { expect, it } from 'vitest';
import openapi from '../../openapi/openapi.json' with { type: 'json' };
import packageJson from '../../package.json' with { type: 'json' };
import { anchorsOf, found, pageOf, pages, prose, root } from './markdown.ts';

const readme = pageOf('README.md');

it.each(pages)('$name links only to headings and files that exist', page => {
  const links = [...prose(page).matchAll(/\]\(([^)\s]+)\)/g)].map(([, link = '']) => link);
  const broken = links.filter(link => {
    if (/^https?:/.test(link)) return false;
    const [path = '', anchor] = link.split('#');
    const target = path === '' ? page.name : normalize(join(dirname(page.name), path));
    if (!existsSync(join(root, target))) return true;
    return anchor !== undefined && !anchorsOf(pageOf(target)).includes(anchor);
  });
  expect(broken).toEqual([]);
});

it('README.md is short, and links to every page of docs/', () => {
  expect(readme.text.split('\n').length - 1).toBeLessThanOrEqual(200);
  const documents = pages.map(({ name }) => name).filter(name => name.startsWith('docs/'));
  expect(documents.filter(name => !readme.text.includes(`](${name})`))).toEqual([]);
});

it('the pages name only npm scripts that exist, and README.md names all of them', () => {
  const scripts = Object.keys(packageJson.scripts);
  const named = (within = pages) => [
    ...found(/\bnpm run (?:--silent )?([\w:-]+)/g, within),
    ...found(/\bnpm (start|test)\b/g, within),
  ];
  expect(named().filter(name => !scripts.includes(name))).toEqual([]);
  expect(named([readme]).sort()).toEqual(scripts.sort());
});

it('the pages name only operations that exist', () => {
  const known = Object.entries(openapi.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map(method => `${method.toUpperCase()} ${path}`),
  );
  const named = found(/`((?:GET|POST|PUT|PATCH|DELETE) \/[^`?\s]*)/g);
  expect(named.length).toBeGreaterThan(40);
  expect(named.filter(name => !known.includes(name))).toEqual([]);
});

it('docs/api.md names every operation', () => {
  const api = pageOf('docs/api.md').text;
  const operations = Object.entries(openapi.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map(method => `\`${method.toUpperCase()} ${path}\``),
  );
  expect(operations.filter(name => !api.includes(name))).toEqual([]);
});

it('the pages name only files and folders that exist', () => {
  const paths = found(/`((?:src|test|migrations|openapi|operations|docs|\.ci)\/[\w./-]*)`/g);
  expect(paths.filter(path => !existsSync(join(root, path)))).toEqual([]);
});

it('.ci/run runs the commands that README.md names', async () => {
  const script = await readFile(join(root, '.ci/run'), 'utf8');
  const commands = script.split('\n').filter(line => line.startsWith('npm '));
  expect(commands).toEqual(['npm ci', 'npm run check', 'npm test']);
  for (const command of commands) expect(readme.text).toContain(command);
});
