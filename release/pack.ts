import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Packed } from './checks.ts';

interface Report {
  filename: string;
  size: number;
  files: { path: string }[];
}

/** Builds and packs the package of a clone twice. @throws Error with what npm says */
export function packTwice(clone: string): Packed {
  const folder = mkdtempSync(join(tmpdir(), 'forumbus-release-'));
  try {
    const [first, second] = [packInto(clone, folder), packInto(clone, folder)];
    return { files: first.files, size: first.size, hashes: [first.hash, second.hash] };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Builds and packs the package of a clone once. @throws Error with what npm says */
export function packInto(clone: string, folder: string): { files: string[]; size: number; hash: string } {
  const { status, stdout, stderr } = spawnSync('npm', ['pack', '--json', '--pack-destination', folder], {
    cwd: clone,
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`npm pack ends with ${status}: ${stderr}`);
  // What the build prints comes first.
  const said = JSON.parse(stdout.slice(stdout.search(/^[[{]/m)));
  const [{ filename, size, files }] = Object.values(said) as [Report];
  const hash = createHash('sha256')
    .update(readFileSync(join(folder, filename)))
    .digest('hex');
  return { files: files.map(({ path }) => path), size, hash };
}
