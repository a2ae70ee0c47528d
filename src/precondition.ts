import { Refusal } from './errors.ts';

/** The versions of a resource that a caller's write is meant for; undefined: whatever its version is. */
export type Precondition = readonly number[] | undefined;

/** @throws Refusal PRECONDITION_FAILED if the resource has another version by now */
export function assertPrecondition(expected: Precondition, version: number): void {
  if (expected === undefined || expected.includes(version)) return;
  throw new Refusal('PRECONDITION_FAILED', `The resource has version ${version} by now; read it again.`, { version });
}
