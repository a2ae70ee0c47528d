import { writeSync } from 'node:fs';
import { Socket } from 'node:net';

/** What may wait for a reader of stdout before lines are dropped. Characters. */
const BACKLOG = 4_194_304;
/** How long the end of the process waits for that reader. Milliseconds. */
const LAST_WORDS_MS = 500;

/** Lines on stdout that are dropped rather than waited for. */
export interface LineWriter {
  write(line: string): void;
}

/**
 * Writes lines to stdout and never blocks. If nobody reads a pipe, a socket or a terminal, a bounded backlog waits
 * there and later lines are dropped. Nor does it fail: lines for a reader that has gone, or for a full disk, are
 * dropped.
 * @param said told how many lines were dropped, as soon as others can be written
 */
export function lineWriter(said: (dropped: number) => void): LineWriter {
  const { stdout } = process;
  const { fd } = stdout;
  let dropped = 0;
  const resume = () => {
    const count = dropped;
    dropped = 0;
    if (count > 0) said(count);
  };
  if (!(stdout instanceof Socket)) {
    return {
      write(line) {
        try {
          writeSync(fd, line);
        } catch {
          dropped += 1;
          return;
        }
        resume();
      },
    };
  }
  // Node makes pipes and sockets non-blocking, terminals blocking.
  if (stdout.isTTY) (stdout as Terminal)._handle?.setBlocking?.(false);
  stdout.on('error', () => {});
  stdout.on('drain', resume);
  return {
    write(line) {
      if (stdout.writableLength + line.length > BACKLOG) dropped += 1;
      else stdout.write(line);
    },
  };
}

type Terminal = NodeJS.WriteStream & { _handle?: { setBlocking?(blocking: boolean): void } };

/** Resolves when all that was written to stdout is written, or nobody reads it. */
export async function stdoutWritten(): Promise<void> {
  const { stdout } = process;
  if (!stdout.writable || stdout.writableLength === 0) return;
  await new Promise<void>(resolve => {
    const timer = setTimeout(resolve, LAST_WORDS_MS);
    stdout.write('', () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
