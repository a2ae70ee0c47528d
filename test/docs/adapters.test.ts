import { spawnSync } from 'node:child_process';
import { symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { forThisTest } from '../helpers/process.ts';
import { scratchFolder } from '../helpers/scratch.ts';
import { blocksOf, pageOf, root } from './markdown.ts';

it('the examples of docs/adapters.md have the types of the frameworks', { timeout: 300_000 }, async () => {
  const { path } = await forThisTest(scratchFolder());
  const blocks = blocksOf(pageOf('docs/adapters.md')).filter(({ language }) => language === 'ts');
  expect(blocks.length).toBeGreaterThanOrEqual(6);
  const names = blocks.map(({ line }, index) => (index === 0 ? 'client.ts' : `line-${line}.ts`));
  await Promise.all(blocks.map(({ code }, index) => writeFile(join(path, names[index] as string), code)));
  const config = {
    extends: join(root, 'tsconfig.json'),
    compilerOptions: {
      typeRoots: [join(root, 'node_modules', '@types')],
      paths: {
        'forumbus/client': [join(root, 'src/client/index.ts')],
        'forumbus/adapters/*': [join(root, 'src/adapters/*.ts')],
      },
    },
    // The app has what the types of the client's schemas are augmented with.
    include: ['*.ts', join(root, 'src/app.ts')],
  };
  await writeFile(join(path, 'tsconfig.json'), JSON.stringify(config));
  await writeFile(join(path, 'package.json'), '{ "type": "module" }');
  await symlink(join(root, 'node_modules'), join(path, 'node_modules'));
  const { stdout, status } = spawnSync(join(root, 'node_modules', '.bin', 'tsc'), ['-p', path], { encoding: 'utf8' });
  expect({ stdout, status }).toEqual({ stdout: '', status: 0 });
});
