/** Progress is drawn at most so often. Milliseconds. */
const DRAWN_EVERY_MS = 100;

/** One line on a terminal that is drawn again and again; nothing elsewhere. */
export function progressOn(stderr: NodeJS.WriteStream) {
  let drawnAt = Number.NEGATIVE_INFINITY;
  return {
    show(text: () => string): void {
      if (!stderr.isTTY || performance.now() - drawnAt < DRAWN_EVERY_MS) return;
      drawnAt = performance.now();
      stderr.write(`\r\x1b[K${text()}`);
    },
    end(): void {
      if (stderr.isTTY && drawnAt > 0) stderr.write('\r\x1b[K');
    },
  };
}
