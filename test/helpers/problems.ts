import { expect } from 'vitest';
import { type ProblemCode, problemTable } from '../../src/errors.ts';
import type { Answer } from './app.ts';

/** A problem document with all its members and nothing that the code does not explain. */
export function expectProblem(
  { status, headers, body }: Pick<Answer, 'status' | 'headers' | 'body'>,
  code: ProblemCode,
): void {
  expect(body).toMatchObject({
    type: `urn:forumbus:problem:${code.toLowerCase().replaceAll('_', '-')}`,
    title: problemTable[code].title,
    status: problemTable[code].status,
    detail: expect.stringMatching(/\S/),
    code,
    request_id: expect.stringMatching(/^[\x21-\x7e]{1,128}$/),
  });
  expect(status).toBe(problemTable[code].status);
  expect(headers['content-type']).toBe('application/problem+json');
}
