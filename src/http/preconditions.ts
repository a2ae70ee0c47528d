import { Type } from 'typebox';
import { Refusal } from '../errors.ts';
import type { Precondition } from '../precondition.ts';

/** The headers of a write that may be made to depend on the version of what it changes. */
export const ConditionalHeaders = Type.Object({
  'if-match': Type.Optional(
    Type.String({ description: 'The version that is to be changed, in quotes, such as `"3"`; `*` for any.' }),
  ),
});

const ENTITY_TAG = /^(W\/)?"([\x21\x23-\x7e]*)"$/;

/**
 * Reads If-Match (RFC 9110, 13.1.1). Tags that are weak, or no version of ours, match nothing.
 * @throws Refusal VALIDATION_FAILED if it is no list of entity tags
 */
export function ifMatch({ 'if-match': header }: { 'if-match'?: string }): Precondition {
  if (header === undefined || header.trim() === '*') return undefined;
  const tags = header.split(',').map(tag => ENTITY_TAG.exec(tag.trim()));
  if (tags.some(tag => tag === null)) {
    const item = { in: 'headers', pointer: '/if-match', code: 'INVALID_FORMAT', detail: 'must be entity tags or *' };
    throw new Refusal('VALIDATION_FAILED', 'headers/if-match: must be entity tags or *', { errors: [item] });
  }
  return tags.filter(tag => tag?.[1] === undefined && /^\d{1,15}$/.test(tag?.[2] ?? '')).map(tag => Number(tag?.[2]));
}
