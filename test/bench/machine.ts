import { statfsSync } from 'node:fs';
import { availableParallelism, cpus, totalmem } from 'node:os';

/** Types of file systems by their magic numbers, as far as databases are likely to be there. */
const fileSystems: Record<number, string> = {
  61267: 'ext4',
  2435016766: 'btrfs',
  1481003842: 'xfs',
  16914836: 'tmpfs (there is nothing to sync)',
  2035054128: 'overlayfs',
  801189825: 'zfs',
};

/** What the figures depend on, in words. */
export function machine(folder: string): string {
  const { type } = statfsSync(folder);
  const [cpu] = cpus();
  const cores = availableParallelism();
  const memory = Math.round(totalmem() / 2 ** 30);
  return [
    `${cores} core${cores === 1 ? '' : 's'} (${cpu?.model.trim() ?? 'unknown'}), ${memory} GiB, ${process.platform} ${process.arch}`,
    `Node ${process.version}, ${new Date().toISOString()}`,
    `${folder} on ${fileSystems[type] ?? `a file system of type 0x${type.toString(16)}`}`,
  ].join('\n');
}
