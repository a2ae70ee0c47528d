import { Type } from 'typebox';
import type { Precondition } from '../precondition.ts';
import { badHeader } from './problems.ts';

/** The request header of a write that may require a version of its resource. */
export const ConditionalHeaders = Type.Object({
  'if-match': Type.Optional(
    Type.String({ description: 'The expected version in quotes, such as `"3"`; `*` accepts any.' }),
  ),
});

// One element of a list; it may be empty, and a tag may hold a comma (RFC 9110, 5.6.1 and 8.8.3).
const ELEMENT = /[ \t]*(?:(?:W\/)?"([\x21\x23-\x7e\x80-\xff]*)"[ \t]*)?(,|$)/y;

// As revisionOf makes it: what changes without the version does not concern a write.
const VERSION = /^([1-9]\d{0,14})(?:-(?:(?:un)?seen|erased|\d+))*$/;

/**
 * Parses If-Match (RFC 9110, 13.1.1). A weak tag counts as its version, since proxies that compress weaken tags. A tag
 * that is not a version matches nothing.
 * @throws Refusal VALIDATION_FAILED if the header is not a list of entity tags
 */
export function ifMatch({ 'if-match': header }: { 'if-match'?: string }): Precondition {
  if (header === undefined) return undefined;
  if (header.trim() === '*') return '*';
  const versions: number[] = [];
  let tags = 0;
  ELEMENT.lastIndex = 0;
  for (let ended = false; !ended; ) {
    const element = ELEMENT.exec(header);
    const isEnd = element?.[2] === '';
    if (element?.[1] !== undefined) tags += 1;
    if (element === null || (isEnd && tags === 0)) {
      throw badHeader('if-match', 'must be entity tags or *');
    }
    const [, tag = ''] = element;
    const [, version] = VERSION.exec(tag) ?? [];
    if (version !== undefined) versions.push(Number(version));
    ended = isEnd;
  }
  return versions;
}
