import { Refusal } from './errors.ts';

/**
 * The versions of a resource that a write accepts. `*` accepts any version of an existing resource, undefined accepts
 * everything.
 */
export type Precondition = readonly number[] | '*' | undefined;

/**
 * @param version 0 if the resource does not exist
 * @throws Refusal PRECONDITION_FAILED if the precondition does not accept this version
 */
export function assertPrecondition(expected: Precondition, version: number): void {
  if (expected === undefined || (expected === '*' ? version > 0 : expected.includes(version))) return;
  if (version === 0) throw new Refusal('PRECONDITION_FAILED', 'The resource does not exist yet.');
  throw new Refusal('PRECONDITION_FAILED', `The resource now has version ${version}; read it again.`, { version });
}
