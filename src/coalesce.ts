/**
 * Runs `task` when it is asked for, and once more if it is asked for during a run: never twice side by side.
 * @returns asks for a run; resolves when no run is left, and rejects with what a run threw
 */
export function coalesce(task: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | undefined;
  let again = false;

  async function run(): Promise<void> {
    try {
      do {
        again = false;
        await task();
      } while (again);
    } finally {
      // In the same step as the last look at `again`, or a request in between would be lost.
      running = undefined;
    }
  }

  return () => {
    again = true;
    running ??= run();
    return running;
  };
}
