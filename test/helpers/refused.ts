import type { ProblemCode } from '../../src/errors.ts';

/**
 * A request that must be refused and leave no trace. `{open}` and the like in `url` and `body` stand for the ids that
 * the suite's own questions got.
 */
export interface Refused {
  name: string;
  method: 'POST' | 'PUT';
  url: string;
  body: unknown;
  code: ProblemCode;
  /** Where the body is wrong: JSON Pointers, without regard to order. */
  pointers?: string[];
}

/** Rows for bodies that do not fit their schema: a name, a body, and where it is wrong. */
export function schemaRows(
  method: Refused['method'],
  url: string,
  rows: [name: string, body: unknown, ...pointers: string[]][],
): Refused[] {
  return rows.map(([name, body, ...pointers]) => ({ name, method, url, body, code: 'VALIDATION_FAILED', pointers }));
}
