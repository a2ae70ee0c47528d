import { globSync } from 'node:fs';

/** What makes a process's wall clock wrong (libfaketime): an hour ahead, an hour behind, or right. */
export function wrongClocks(): ((started: number) => Record<string, string>) | undefined {
  const [library] = globSync('/usr/lib/*/faketime/libfaketime.so.1');
  if (!library) return undefined;
  const offsets = ['+1h', '-1h', undefined];
  return started => {
    const offset = offsets[started % offsets.length];
    if (offset === undefined) return {};
    return { LD_PRELOAD: library, FAKETIME: offset, FAKETIME_DONT_FAKE_MONOTONIC: '1' };
  };
}
