/**
 * Coalesces requests for `task`: runs never overlap, and any number of requests during a run cause one more.
 * @returns requests a run; resolves when no run is pending, rejects with the error of a run
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
      // Reset in the same synchronous step as the last check of `again`, or a request in between would be lost.
      running = undefined;
    }
  }

  return () => {
    again = true;
    running ??= run();
    return running;
  };
}
