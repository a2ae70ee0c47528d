/**
 * Caches the results of `compute` by argument. A full cache (`maxSize` results) is cleared, so that a flood of new
 * arguments cannot exhaust the memory.
 */
export function memoize<A, R extends {}>(compute: (argument: A) => R, maxSize: number): (argument: A) => R {
  const known = new Map<A, R>();
  return argument => {
    const found = known.get(argument);
    if (found !== undefined) return found;
    const computed = compute(argument);
    if (known.size >= maxSize) known.clear();
    known.set(argument, computed);
    return computed;
  };
}
