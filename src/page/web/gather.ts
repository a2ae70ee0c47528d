export const pause = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms));

/** Calls `work` once, `ms` after the first of several calls. */
export function gather(work: () => void, ms: number): () => void {
  const timer: { id?: ReturnType<typeof setTimeout> | undefined } = {};
  return () => {
    timer.id ??= setTimeout(() => {
      timer.id = undefined;
      work();
    }, ms);
  };
}
