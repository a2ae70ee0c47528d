import { cut } from './text.ts';

/** Characters of a whole text, and of one message or value in it. */
const LONGEST = 2000;
const LONGEST_PART = 1000;
/** How many causes, errors of an aggregate, members of an object and levels of nesting are shown. */
const CAUSES = 8;
const MEMBERS = 20;
const DEPTH = 3;

/**
 * Whatever was thrown, as text for people: the message, the code, the errors of an AggregateError and the chain of causes.
 * An object that is no error is shown with its members. The text is never empty and at most 2,000 characters long.
 * Never throws: getters and proxies may.
 */
export function textOf(thrown: unknown): string {
  // Each part is read with care; should one be missed, the process must not end by it.
  return attempt(() => cut(chain(thrown, DEPTH), LONGEST).toWellFormed()) ?? 'an error that cannot be read';
}

/** The name of an error's type, such as `TypeError`; undefined if it is no error. Never throws. */
export function errorName(thrown: unknown): string | undefined {
  return isError(thrown) ? (stringIn(thrown, 'name') ?? 'Error') : undefined;
}

/** A member of an error, such as its code, if that is a string. Never throws. */
export function memberText(thrown: object, name: 'code' | 'message'): string | undefined {
  return stringIn(thrown, name);
}

/** `instanceof`, false where the prototypes cannot be read. Never throws. */
export function isA<T>(thrown: unknown, type: abstract new (...args: never[]) => T): thrown is T {
  return attempt(() => thrown instanceof type) ?? false;
}

/** A value with its causes. */
function chain(thrown: unknown, depth: number): string {
  const texts: string[] = [];
  const seen = new Set<unknown>();
  for (let next = thrown; texts.length < CAUSES && !seen.has(next); next = memberOf(next, 'cause')) {
    if (texts.length > 0 && (next === undefined || next === null)) break;
    seen.add(next);
    texts.push(isError(next) ? errorText(next, depth) : valueText(next, depth));
    if (!isError(next)) break;
  }
  return texts.join('; caused by: ');
}

function errorText(error: object, depth: number): string {
  const message = cut(stringIn(error, 'message') ?? '', LONGEST_PART) || (errorName(error) as string);
  const code = memberOf(error, 'code');
  const shownCode = typeof code === 'string' || typeof code === 'number' ? cut(String(code), 100) : '';
  const errors = memberOf(error, 'errors');
  const parts = attempt(() => (Array.isArray(errors) ? elements(errors, depth, chain) : [])) ?? [];
  const coded = shownCode === '' || message.includes(shownCode) ? message : `${message} (${shownCode})`;
  return parts.length === 0 ? coded : `${coded} [${parts.join('; ')}]`;
}

/** Close to JSON; what has no JSON, as its kind. */
function valueText(value: unknown, depth: number): string {
  if (typeof value === 'string') return cut(value, LONGEST_PART) || '""';
  if (typeof value === 'function') return 'a function';
  if (typeof value !== 'object' || value === null) return String(value);
  return attempt(() => objectText(value, depth)) ?? 'an object that cannot be read';
}

function objectText(value: object, depth: number): string {
  if (Array.isArray(value)) return `[${elements(value, depth, nested).join(',')}]`;
  if (depth === 0) return '{…}';
  const names = Object.keys(value);
  if (names.length === 0) return attempt(() => plainText(value)) ?? '{}';
  const members = names
    .slice(0, MEMBERS)
    .map(name => `${JSON.stringify(cut(name, 100))}:${nested(memberOf(value, name), depth - 1)}`);
  return `{${[...members, ...(names.length > MEMBERS ? ['…'] : [])].join(',')}}`;
}

/** The own text of an object without members, such as a Date or a URL, unless that says nothing. */
function plainText(value: object): string | undefined {
  const text = String(value);
  return text === '' || text.startsWith('[object') ? undefined : cut(text, LONGEST_PART);
}

function nested(value: unknown, depth: number): string {
  if (typeof value === 'string') return JSON.stringify(cut(value, LONGEST_PART));
  return isError(value) ? chain(value, Math.max(0, depth)) : valueText(value, Math.max(0, depth));
}

function elements(list: unknown[], depth: number, text: (value: unknown, depth: number) => string): string[] {
  if (depth === 0) return list.length > 0 ? ['…'] : [];
  const count = Math.min(MEMBERS, list.length);
  const shown = Array.from({ length: count }, (_, index) => text(memberOf(list, index), depth - 1));
  return list.length > count ? [...shown, '…'] : shown;
}

/** Also of another realm, or without a prototype: what has a message counts as an error. */
function isError(value: unknown): value is object {
  return typeof value === 'object' && value !== null && (isA(value, Error) || Boolean(stringIn(value, 'message')));
}

function stringIn(value: object, name: string): string | undefined {
  const member = memberOf(value, name);
  return typeof member === 'string' ? member : undefined;
}

function memberOf(value: unknown, name: string | number): unknown {
  return attempt(() => (value as Record<string | number, unknown>)[name]);
}

function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
