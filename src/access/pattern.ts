/*
 * Patterns of names in tokens. `*` stands for zero or more characters. A backslash before `*` or another backslash makes
 * that character stand for itself; any other backslash stands for itself.
 */

/** Whether a name matches a pattern; null matches none. Linear in the name's length for each `*`. */
export function matchesPattern(pattern: string | null, name: string): boolean {
  if (pattern === null) return false;
  const [first = '', ...rest] = literals(pattern);
  const last = rest.pop();
  if (last === undefined) return name === first;
  if (name.length < first.length + last.length || !name.startsWith(first) || !name.endsWith(last)) return false;
  let at = first.length;
  const end = name.length - last.length;
  for (const part of rest) {
    const found = name.indexOf(part, at);
    if (found === -1 || found + part.length > end) return false;
    at = found + part.length;
  }
  return true;
}

/** The only name that a pattern matches; undefined if it may match several, or is null. */
export function exactName(pattern: string | null): string | undefined {
  const [name, ...more] = pattern === null ? [] : literals(pattern);
  return more.length === 0 ? name : undefined;
}

/**
 * What all names that a pattern matches begin with, and its only name if it matches one alone.
 * @returns undefined for a pattern with `*` elsewhere than at its end
 */
export function beginningOf(pattern: string): { name?: string; beginning: string } | undefined {
  const [beginning = '', rest, ...more] = literals(pattern);
  if (rest === undefined) return { name: beginning, beginning };
  return rest === '' && more.length === 0 ? { beginning } : undefined;
}

/** The texts between the `*` of a pattern. */
function literals(pattern: string): string[] {
  if (!pattern.includes('\\')) return pattern.split('*');
  const texts = [''];
  for (const [part] of pattern.matchAll(/\\[\\*]|[\s\S]/g)) {
    if (part === '*') texts.push('');
    else texts[texts.length - 1] += part.length === 2 ? part.slice(1) : part;
  }
  return texts;
}
