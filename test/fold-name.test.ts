import fc from 'fast-check';
import { expect, it } from 'vitest';
import { foldName } from '../src/fold-name.ts';

it.each([
  [
    'builder',
    'Builder',
    'BUILDER',
    'ｂｕｉｌｄｅｒ',
    'build\u200ber',
    'b\u00aduilder',
    ' buil der\u00a0',
    '\u202ebuilder',
  ],
  ['café', 'cafe\u0301', 'CAFE\u0301'],
  ['straße', 'STRASSE', 'strasse'],
  ['fctrl-1', 'FCTRL-1', 'ＦＣＴＲＬ－１'],
])('%s is the same however it is written', (name, ...spellings) => {
  for (const spelling of spellings) expect(foldName(spelling)).toBe(foldName(name));
});

it('other names stay different, and folding twice changes nothing', () => {
  expect(foldName('builder')).not.toBe(foldName('builder2'));
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), name => {
      expect(foldName(foldName(name))).toBe(foldName(name));
    }),
  );
});
