/**
 * Whether a JSON number keeps its decimal value on the way through a double. It does if the shortest text of the double
 * is the same decimal. 0.1 and 1.0 do, 9007199254740993 and 1e-400 do not.
 */
export function isExact(text: string): boolean {
  const double = Number(text);
  const shortest = String(double);
  if (shortest === text) return true;
  return Number.isFinite(double) && decimal(text) === decimal(shortest);
}

/** The value of a number without its sign: the digits from the first to the last nonzero one, and their exponent. */
function decimal(text: string): string {
  const [, whole = '', fraction = '', exponent = '0'] = /^-?(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(text) ?? [];
  const digits = whole + fraction;
  let [first, last] = [0, digits.length];
  while (first < last && digits[first] === '0') first += 1;
  while (last > first && digits[last - 1] === '0') last -= 1;
  if (first === last) return '0';
  return `${digits.slice(first, last)}e${Number(exponent) - fraction.length + digits.length - last}`;
}
