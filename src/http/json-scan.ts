import { isExact } from './numbers.ts';

/*
 * A look at the text of a JSON body before it is parsed. It is linear in the text, and finds what JSON.parse would take
 * long for, or would change.
 */

/** Nesting of a payload, in levels of arrays and objects; the body around it is one more. */
const PAYLOAD_DEPTH = 64;
/** JSON.parse and validation of so many values and names stay far below 100 ms, whatever their shapes. */
const VALUES = 100_000;
const NAMES = 16_384;
/** A decimal of so many significant digits always fits a double (DBL_DIG, C 5.2.4.2.2). */
const SAFE_DIGITS = 15;
const SAFE_LENGTH = 60;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const SPACE = 0x20;
const MINUS = 0x2d;
const ZERO = 0x30;
const NINE = 0x39;

/** What is wrong with a JSON text, and the JSON Pointer (RFC 6901) of the place. */
export interface JsonFault {
  code: 'TOO_DEEP' | 'TOO_MANY' | 'NUMBER_NOT_EXACT' | 'NOT_UNIQUE' | 'RESERVED';
  pointer: string;
  detail: string;
}

interface Scan {
  fault: JsonFault | undefined;
  /** The number of names in all objects. */
  names: number;
}

/**
 * Scans a JSON text in UTF-8; of a text that is not JSON the result means nothing.
 * @param strict also look for names that are given twice, or that could change a prototype, which takes longer
 * @param anyNumber take numbers that do not fit a double, too
 */
export function scanJson(
  text: Buffer,
  { strict, anyNumber }: { strict?: boolean; anyNumber?: boolean | undefined } = {},
): Scan {
  const place = new Place(text);
  const { length } = text;
  let [values, names] = [0, 0];
  let isName = false;
  const fault = (code: JsonFault['code'], detail: string, levels?: number): Scan => ({
    fault: { code, pointer: place.pointer(levels), detail },
    names,
  });
  for (let at = 0; at < length; at += 1) {
    const byte = text[at] as number;
    // The innermost array or object may be empty.
    if (place.depth > PAYLOAD_DEPTH + 1 && byte > SPACE && byte !== 0x5d && byte !== 0x7d) {
      return fault('TOO_DEEP', `must not be nested deeper than ${PAYLOAD_DEPTH} levels`, 1);
    }
    if (values > VALUES) return fault('TOO_MANY', `must not make the body hold more than ${VALUES} values`, 1);
    switch (byte) {
      case QUOTE:
        if (isName) place.name(at);
        else values += 1;
        for (at += 1; at < length && text[at] !== QUOTE; at += 1) if (text[at] === BACKSLASH) at += 1;
        break;
      case 0x3a: // :
        names += 1;
        isName = false;
        if (names > NAMES) return fault('TOO_MANY', `must not make the body hold more than ${NAMES} names`, 1);
        if (strict && !place.isNew()) return fault('NOT_UNIQUE', 'is given twice');
        if (strict && place.isOfPrototype()) return fault('RESERVED', 'could change a prototype; take another name');
        break;
      case 0x2c: // ,
        isName = place.next();
        break;
      case 0x7b: // {
      case 0x5b: // [
        values += 1;
        isName = byte === 0x7b;
        place.enter(isName);
        break;
      case 0x7d: // }
      case 0x5d: // ]
        place.leave();
        break;
      case 0x74: // true
      case 0x66: // false
      case 0x6e: // null
        values += 1;
        break;
      default:
        if (byte === MINUS || (byte >= ZERO && byte <= NINE)) {
          values += 1;
          const end = endOfNumber(text, at);
          if (!anyNumber && !isSafe(text, at, end) && !isExact(text.toString('latin1', at, end))) {
            return fault('NUMBER_NOT_EXACT', 'does not fit a double; send it as a string');
          }
          at = end - 1;
        }
    }
  }
  return { fault: undefined, names };
}

/** The place in a JSON text that a scan has reached. */
class Place {
  readonly #text: Buffer;
  depth = 0;
  /** By depth: the index of the element, or -1 in an object. */
  readonly #index = new Int32Array(PAYLOAD_DEPTH + 3);
  /** By depth: the offset of the latest name. */
  readonly #name = new Int32Array(PAYLOAD_DEPTH + 3);
  readonly #seen: Set<string>[] = [];

  constructor(text: Buffer) {
    this.#text = text;
  }

  enter(isObject: boolean): void {
    this.depth += 1;
    this.#index[this.depth] = isObject ? -1 : 0;
    this.#seen[this.depth]?.clear();
  }

  leave(): void {
    if (this.depth > 0) this.depth -= 1;
  }

  /** After a comma. @returns whether a name follows */
  next(): boolean {
    if (this.#index[this.depth] === -1) return true;
    this.#index[this.depth] = (this.#index[this.depth] ?? 0) + 1;
    return false;
  }

  name(offset: number): void {
    this.#name[this.depth] = offset;
  }

  /** Whether its object has the latest name for the first time. */
  isNew(): boolean {
    this.#seen[this.depth] ??= new Set();
    const seen = this.#seen[this.depth] as Set<string>;
    const name = this.#nameAt(this.depth);
    return seen.size < seen.add(name).size;
  }

  /** Whether the latest name is `__proto__`, or `prototype` in a `constructor`. */
  isOfPrototype(): boolean {
    const name = this.#nameAt(this.depth);
    const isInObject = this.#index[this.depth - 1] === -1;
    return (
      name === '__proto__' || (name === 'prototype' && isInObject && this.#nameAt(this.depth - 1) === 'constructor')
    );
  }

  /** @param levels the number of levels that the pointer names at most */
  pointer(levels = this.depth): string {
    let pointer = '';
    for (let depth = 1; depth <= Math.min(levels, this.depth); depth += 1) {
      const index = this.#index[depth] ?? 0;
      const token = index === -1 ? this.#nameAt(depth).replaceAll('~', '~0').replaceAll('/', '~1') : index;
      pointer += `/${token}`;
    }
    return pointer;
  }

  #nameAt(depth: number): string {
    const start = this.#name[depth] ?? 0;
    let end = start + 1;
    while (end < this.#text.length && this.#text[end] !== QUOTE) end += this.#text[end] === BACKSLASH ? 2 : 1;
    try {
      return JSON.parse(this.#text.toString('utf8', start, end + 1));
    } catch {
      return '';
    }
  }
}

function endOfNumber(text: Buffer, start: number): number {
  let end = start + 1;
  for (; end < text.length; end += 1) {
    const byte = text[end] as number;
    const isDigit = byte >= ZERO && byte <= NINE;
    // . + - e E
    if (!isDigit && byte !== 0x2e && byte !== 0x2b && byte !== MINUS && byte !== 0x65 && byte !== 0x45) break;
  }
  return end;
}

/** Whether a number certainly fits a double: it is short, has few digits and no large exponent. */
function isSafe(text: Buffer, start: number, end: number): boolean {
  if (end - start > SAFE_LENGTH) return false;
  let digits = 0;
  let exponent = -1;
  for (let at = start; at < end; at += 1) {
    const byte = text[at] as number;
    if (byte === 0x65 || byte === 0x45) exponent = 0;
    else if (byte >= ZERO && byte <= NINE) {
      if (exponent >= 0) exponent += 1;
      else if (digits > 0 || byte !== ZERO) digits += 1;
    }
  }
  return digits <= SAFE_DIGITS && exponent <= 2;
}
