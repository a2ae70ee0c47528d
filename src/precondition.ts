import { Refusal } from './errors.ts';

/** The versions of a resource that a caller's write is meant for; `*`: any, but there must be one; undefined: none asked for. */
export type Precondition = readonly number[] | '*' | undefined;

/**
 * @param version 0 if the resource does not exist
 * @throws Refusal PRECONDITION_FAILED if the resource has another version by now
 */
export function assertPrecondition(expected: Precondition, version: number): void {
  if (expected === undefined || (expected === '*' ? version > 0 : expected.includes(version))) return;
  if (version === 0) throw new Refusal('PRECONDITION_FAILED', 'The resource does not exist yet.');
  throw new Refusal('PRECONDITION_FAILED', `The resource has version ${version} by now; read it again.`, { version });
}
