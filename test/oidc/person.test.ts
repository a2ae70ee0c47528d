import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { personOfClaims } from '../../src/oidc/person.ts';

const lists = {
  admins: ['root', 'zoe@example.org'],
  operators: ['ops', 'Ana@example.org'],
  viewers: ['all', '@example.org'],
};
const role = (claims: object) => personOfClaims({ sub: 'u1', ...claims }, lists).role;
const verified = (email: string) => ({ email, email_verified: true });

describe('the role of a person', () => {
  it.each([
    [{ groups: ['x', 'ops'] }, 'operator'],
    [{ groups: 'ops' }, 'operator'],
    [{ groups: ['all', 'ops'] }, 'operator'],
    [{ groups: ['all'] }, 'viewer'],
    [{ groups: ['all', 'root', 'ops'] }, 'admin'],
    [{ groups: ['ops'], ...verified('Zoe@example.org') }, 'admin'],
    [{ groups: ['ops'], email: 'zoe@example.org' }, 'operator'],
    [{ preferred_username: 'root' }, undefined],
    [verified('ANA@Example.org'), 'operator'],
    [verified('ben@EXAMPLE.org'), 'viewer'],
    [{ email: 'ben@example.org', email_verified: 'true' }, 'viewer'],
    [{ groups: ['OPS', 'ops '] }, undefined],
    [{ groups: ['Ana@example.org', '@example.org'] }, undefined],
    [{ groups: { ops: true } }, undefined],
    [{ email: 'ana@example.org' }, undefined],
    [{ email: 'ana@example.org', email_verified: false }, undefined],
    [{ email: 'ana@example.org', email_verified: 1 }, undefined],
    [verified('ben@evil-example.org'), undefined],
    [verified('ben@example.org.evil'), undefined],
    [verified('ben@sub.example.org'), undefined],
    [{ preferred_username: 'ops' }, undefined],
    [{}, undefined],
  ])('with %j is %s', (claims, expected) => {
    expect(role(claims)).toBe(expected);
  });

  it('is none without a group or an address of a list, whatever else is claimed', () => {
    const claims = fc.record(
      {
        groups: fc.oneof(fc.array(fc.string()), fc.jsonValue()),
        email: fc.jsonValue(),
        email_verified: fc.jsonValue(),
        preferred_username: fc.jsonValue(),
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(claims, given => {
        fc.pre(!['root', 'ops', 'all'].some(group => [given.groups].flat().includes(group)));
        expect(role({ ...given, email_verified: false })).toBeUndefined();
      }),
    );
  });
});

describe('the name of a person', () => {
  const name = (claims: object, sub = 'u1') => personOfClaims({ sub, ...claims }, lists).actor;

  it.each([
    [{ ...verified('Ana@Example.org'), preferred_username: 'root' }, 'ana@example.org'],
    [{ email: 'ana@example.org', preferred_username: 'ana' }, 'ana'],
    [{ preferred_username: ' ana ' }, 'ana'],
    [{ preferred_username: 'a\u202Ena' }, 'u1'],
    [{ preferred_username: 'x'.repeat(201) }, 'u1'],
    [{ preferred_username: '..' }, 'u1'],
    [{ preferred_username: 7 }, 'u1'],
    [{}, 'u1'],
  ])('with %j is %s', (claims, expected) => {
    expect(name(claims)).toEqual({ type: 'human', name: expected });
  });

  it.each([
    ['s'.repeat(255), `subject ${'s'.repeat(191)}\u2026`],
    ['..', 'subject ..'],
  ])('of a subject that is none is made of it: %s', (sub, expected) => {
    expect(name({}, sub).name).toBe(expected);
  });
});
