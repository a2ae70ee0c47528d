import fc from 'fast-check';
import { expect, it, onTestFinished } from 'vitest';
import { maskTokens } from '../src/logging.ts';
import { printable } from '../src/printable.ts';
import { startApp } from './helpers/app.ts';

const ID = '0123456789abcdef';
const SECRET = `${'5e3a'.repeat(15)}7f1b`;
const TOKEN = `fbt_${ID}_${SECRET}`;

/** The token with each character as it is, or percent-encoded once or more, in either case. */
const spelled = fc
  .array(fc.record({ times: fc.nat({ max: 3 }), upper: fc.boolean() }), {
    minLength: TOKEN.length,
    maxLength: TOKEN.length,
  })
  .map(ways =>
    [...TOKEN]
      .map((character, index) => {
        const { times, upper } = ways[index] as { times: number; upper: boolean };
        if (times === 0) return character;
        const hex = character.charCodeAt(0).toString(16);
        return `%${'25'.repeat(times - 1)}${upper ? hex.toUpperCase() : hex}`;
      })
      .join(''),
  );

/** What somebody reads who undoes every encoding. */
function decoded(text: string): string {
  const next = text.replace(/%([0-9a-f]{2})/gi, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16)));
  return next === text ? text : decoded(next);
}

it('a token is masked however its characters are percent-encoded, and what stands around it is kept', () => {
  fc.assert(
    fc.property(spelled, fc.string(), (token, before) => {
      const masked = maskTokens(`${before} ${token}/revoke`);
      expect(decoded(masked)).not.toContain(SECRET.slice(0, 8));
      expect(masked.startsWith(`${maskTokens(before)} fbt_`)).toBe(true);
      expect(masked.endsWith('_***/revoke')).toBe(true);
    }),
  );
  expect(maskTokens(`a ${TOKEN} b ${TOKEN}`)).toBe(`a fbt_${ID}_*** b fbt_${ID}_***`);
  expect(maskTokens(`fbt%5f${ID}%5F${SECRET.slice(0, 20)}`)).toBe(`fbt_${ID}_***`);
  expect(maskTokens('fbt_short_1 and 50% of fbt')).toBe('fbt_short_1 and 50% of fbt');
});

it('no problem repeats a token of a URL', async () => {
  const service = await startApp('sqlite');
  onTestFinished(() => service.close());
  for (const token of [TOKEN, `fbt%5f${ID}_${SECRET}`, `%66bt%255f${ID}%5f${SECRET}`]) {
    for (const url of [`/${token}`, `/questions/${token}`, `/runs/${token}`, `/%${token}`, `/stats?${token}=1`]) {
      const { status, body } = await service.send('GET', url);
      expect(status, url).toBeGreaterThanOrEqual(400);
      expect(decoded(JSON.stringify(body)), url).not.toContain(SECRET.slice(0, 8));
    }
  }
});

it('a terminal shows controls and bidirectional controls of a name as escapes', () => {
  expect(printable('a\u001b[31m\u202e\r\n\u2066b\u2028\u0085')).toBe(
    String.raw`a\u{1b}[31m\u{202e}\u{d}\u{a}\u{2066}b\u{2028}\u{85}`,
  );
  expect(printable('日本 Ω é')).toBe('日本 Ω é');
});
