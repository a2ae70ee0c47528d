import { cp, mkdir, readdir, readFile, symlink } from 'node:fs/promises';
import { join } from 'node:path';

const root = join(import.meta.dirname, '../..');

export interface Instruction {
  name: string;
  rest: string;
}

/** The instructions of the Dockerfile by stage, continued lines joined, comments left out. What precedes a FROM is left out. */
export async function readStages(): Promise<Instruction[][]> {
  const text = (await readFile(join(root, 'Dockerfile'), 'utf8'))
    .replaceAll(/^#.*\n/gm, '')
    .replaceAll(/\\\n\s*/g, ' ');
  const stages: Instruction[][] = [];
  for (const line of text.split('\n').filter(one => one.trim() !== '')) {
    const instruction = { name: line.split(' ')[0] as string, rest: line.slice(line.indexOf(' ') + 1) };
    if (instruction.name === 'FROM') stages.push([]);
    stages.at(-1)?.push(instruction);
  }
  return stages;
}

/** Which names at the top of the clone the build does not see: .dockerignore has no other patterns. */
export async function isIgnored(): Promise<(name: string) => boolean> {
  const lines = (await readFile(join(root, '.dockerignore'), 'utf8')).split('\n').filter(line => line !== '');
  const patterns = lines.map(line => new RegExp(`^${line.replaceAll('.', '\\.').replaceAll('*', '[^/]*')}$`));
  return name => patterns.some(pattern => pattern.test(name));
}

interface Builder {
  /** Stands for the root of the image. */
  image: string;
  run(command: string, cwd: string): Promise<void>;
}

/**
 * Takes the COPY and RUN steps of a stage in a folder. Absolute paths lead into that folder, and its user stands for the
 * image's. @throws Error for a step of another form
 */
export async function build(stage: Instruction[], { image, run }: Builder): Promise<void> {
  const inside = (text: string) =>
    text.replaceAll(/(^|[\s=])\/(?=\w)/g, `$1${image}/`).replaceAll('node:node', '"$(id -u):$(id -g)"');
  const ignored = await isIgnored();
  let workdir = image;
  for (const { name, rest } of stage) {
    if (name === 'WORKDIR') {
      workdir = join(image, rest);
      await mkdir(workdir, { recursive: true });
    } else if (name === 'COPY') {
      const [, stageFlag = '', list = ''] = /^(--from=\w+ )?(.*)$/.exec(rest) ?? [];
      const sources = list.split(' ');
      const target = join(workdir, sources.pop() as string);
      for (const source of sources) {
        if (stageFlag) await cp(join(image, source), target, { recursive: true });
        else if (source === '.') {
          for (const entry of (await readdir(root)).filter(one => !ignored(one)))
            await cp(join(root, entry), join(target, entry), { recursive: true });
        } else if (ignored(source)) throw new Error(`.dockerignore leaves out ${source}, which is copied.`);
        else await cp(join(root, source), join(target, source));
      }
    } else if (name === 'RUN' && rest === 'npm ci --ignore-scripts') {
      // What `npm ci` has installed here: the tests need no second copy of half a gigabyte.
      await symlink(join(root, 'node_modules'), join(workdir, 'node_modules'));
    } else if (name === 'RUN') {
      await run(inside(rest), workdir);
    }
  }
}
