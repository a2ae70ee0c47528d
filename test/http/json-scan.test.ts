import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { scanJson } from '../../src/http/json-scan.ts';

const scan = (text: string, strict = false) => scanJson(Buffer.from(text), { strict }).fault;

describe('a scan of a JSON text', () => {
  it.each([
    ['9007199254740993', false],
    ['9007199254740992', true],
    ['-9007199254740993', false],
    ['123456789012345678', false],
    ['10000000000000000000000', true],
    ['1e400', false],
    ['-1e400', false],
    ['1e-400', false],
    [`0.${'0'.repeat(400)}1`, false],
    [`1${'0'.repeat(400)}`, false],
    ['5e-324', true],
    ['4e-324', false],
    ['1.7976931348623157e308', true],
    ['1.7976931348623159e308', false],
    ['0.1', true],
    ['1.0', true],
    ['1.50000000000000000000000000', true],
    ['0.1000000000000000055', false],
    ['0.30000000000000004', true],
    ['1e-05', true],
    ['1E+22', true],
    ['0e99999', true],
    ['-0', true],
    ['0.000', true],
    ['1e99999999999999999999', false],
  ])('knows whether %s keeps its value', (number, exact) => {
    expect(scan(number)?.code).toBe(exact ? undefined : 'NUMBER_NOT_EXACT');
    expect(scan(`{"a/b":[0,{"~":"${number}","c":${number}}]}`)?.pointer).toBe(exact ? undefined : '/a~1b/1/c');
  });

  it('takes every number that JSON.stringify writes, and no other decimal beside one', () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), fc.nat({ max: 9 }), (number, digit) => {
        expect(scan(JSON.stringify(number))).toBeUndefined();
        fc.pre(number !== 0);
        const [mantissa = '', exponent = '0'] = number.toExponential(20).split('e');
        const longer = `${mantissa}${digit || 1}e${exponent}`;
        const value = (text: string) => {
          const [, whole, fraction, power] = /^-?(\d)\.?(\d*)e(.*)$/.exec(text) as unknown as string[];
          return `${whole}${fraction}e${power}`.replace(/0+e/, 'e');
        };
        const same = value(longer) === value(number.toExponential());
        expect(scan(longer)?.code).toBe(same ? undefined : 'NUMBER_NOT_EXACT');
      }),
    );
  });

  it('finds nothing in what JSON.stringify writes, and counts its names', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 6 }), value => {
        const text = JSON.stringify(value, null, 1);
        fc.pre(!/"(__proto__|prototype)"/.test(text));
        const { fault, names } = scanJson(Buffer.from(text), { strict: true });
        let counted = 0;
        JSON.parse(text, (_name, part) => {
          if (typeof part === 'object' && part !== null && !Array.isArray(part)) counted += Object.keys(part).length;
          return part;
        });
        expect({ fault, names }).toEqual({ fault: undefined, names: counted });
      }),
    );
  });

  it.each([
    ['{"a":1,"a":1}', '/a'],
    ['{"a":{"b":1,"c":2,"\\u0062":3}}', '/a/b'],
    ['[{"a":1},{"a":1,"":[],"a":2}]', '/1/a'],
    ['{"a":{"x":1},"b":{"x":1},"":0}', undefined],
    ['{"a":{"a":{"a":1}}}', undefined],
  ])('finds the name that is given twice in %s', (text, pointer) => {
    expect(scan(text, true)?.pointer).toBe(pointer);
  });

  it.each([
    ['levels', `{"a":${'['.repeat(65)}1${']'.repeat(65)}}`, `{"a":${'['.repeat(65)} ${']'.repeat(65)}}`, 'TOO_DEEP'],
    ['values', `{"a":[${'1,'.repeat(100_000)}1]}`, `{"a":[${'1,'.repeat(99_000)}1]}`, 'TOO_MANY'],
    ['names', `{"a":[${'{"b":1},'.repeat(16_384)}1]}`, `{"a":[${'{"b":1},'.repeat(16_383)}1]}`, 'TOO_MANY'],
  ])('refuses too many %s', (_, tooMuch, enough, code) => {
    expect(scan(tooMuch)).toMatchObject({ code, pointer: '/a' });
    expect(scan(enough)).toBeUndefined();
  });

  it('ends on any text, also on one that is not JSON', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...'{}[]",:\\u01-.eEtfn ')), parts => {
        scanJson(Buffer.from(parts.join('')), { strict: true });
      }),
      { numRuns: 1000 },
    );
  });
});
