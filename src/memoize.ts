/**
 * `compute`, with its last results remembered: all of them are forgotten when there are `most`, so that a flood of new
 * arguments cannot fill the memory.
 */
export function memoize<A, R extends {}>(compute: (argument: A) => R, most: number): (argument: A) => R {
  const known = new Map<A, R>();
  return argument => {
    const found = known.get(argument);
    if (found !== undefined) return found;
    const computed = compute(argument);
    if (known.size >= most) known.clear();
    known.set(argument, computed);
    return computed;
  };
}
