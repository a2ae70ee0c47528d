import { spawnSync } from 'node:child_process';
import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as apps from 'kubernetes-models/apps/v1';
import * as policy from 'kubernetes-models/policy/v1';
import * as core from 'kubernetes-models/v1';
import { expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { forThisTest } from './helpers/process.ts';
import { scratchFolder } from './helpers/scratch.ts';

/*
 * The manifests against the API of Kubernetes, made of its own OpenAPI document: the validators know what is required and the
 * form of values, the types know which fields there are.
 */

const root = join(import.meta.dirname, '..');
const models: Record<string, object> = { v1: core, 'apps/v1': apps, 'policy/v1': policy };

interface Manifest {
  apiVersion: string;
  kind: string;
}
type Model = new (object: Manifest) => { validate(): void };

async function manifests(file: string, change = (text: string) => text): Promise<Manifest[]> {
  const documents = parseAllDocuments(change(await readFile(join(root, 'operations/kubernetes', file), 'utf8')));
  if ('empty' in documents) throw new Error('The manifest is empty.');
  return documents.map(document => document.toJS());
}

/** Why the API would not take an object. */
function invalid(object: Manifest): string[] {
  const Kind = (models[object.apiVersion] as Record<string, Model> | undefined)?.[object.kind];
  if (!Kind) return [`There is no ${object.kind} in ${object.apiVersion}.`];
  try {
    new Kind(object).validate();
    return [];
  } catch (error) {
    return [(error as Error).message];
  }
}

/** Fields of objects that the API does not have, as the compiler says it. */
async function unknownFields(objects: Manifest[]): Promise<string[]> {
  const { path } = await forThisTest(scratchFolder());
  await symlink(join(root, 'node_modules'), join(path, 'node_modules'));
  await mkdir(join(path, 'src'));
  const lines = objects.map(
    (object, index) =>
      `import type { I${object.kind} as Kind${index} } from 'kubernetes-models/${object.apiVersion}';\n` +
      `export const object${index}: Kind${index} = ${JSON.stringify(object)};\n`,
  );
  await writeFile(join(path, 'src/manifests.ts'), lines.join(''));
  const options = { strict: true, noEmit: true, skipLibCheck: true, module: 'nodenext', types: [] };
  await writeFile(join(path, 'tsconfig.json'), JSON.stringify({ compilerOptions: options, include: ['src'] }));
  const { stdout } = spawnSync('tsc', ['-p', path], { encoding: 'utf8' });
  return stdout.split('\n').filter(line => /error TS/.test(line));
}

it.each(['sqlite.yaml', 'postgres.yaml'])('Kubernetes knows everything in %s', async file => {
  const objects = await manifests(file);
  expect(objects.length).toBeGreaterThan(2);
  expect(objects.flatMap(invalid)).toEqual([]);
  expect(await unknownFields(objects)).toEqual([]);
});

it.each([
  ['replicas: 1', 'replicas: one', /replicas must be integer/],
  ['memory: 1Gi', 'memory: 1 gig', /must match format "quantity"/],
  ['  selector:\n', '  select:\n', /required property selector/],
  ['apps/v1', 'extensions/v1beta1', /no Deployment in extensions/],
])('it would refuse %j as %j', async (right, wrong, fault) => {
  const objects = await manifests('sqlite.yaml', text => {
    expect(text).toContain(right);
    return text.replace(right, wrong);
  });
  expect(objects.flatMap(invalid).join()).toMatch(fault);
});

it.each([
  ['livenessProbe', 'livenesProbe'],
  ['readOnlyRootFilesystem', 'readOnlyRoot'],
  ['strategy', 'strategies'],
])('it would not know %s spelt as %s', async (right, wrong) => {
  const objects = await manifests('sqlite.yaml', text => text.replace(`${right}:`, `${wrong}:`));
  expect((await unknownFields(objects)).join()).toContain(`"${wrong}"`);
});
