import { describe, expect, it } from 'vitest';
import { newUid } from '../../src/clock.ts';
import { fromHandle, fromToken, toHandle, toToken } from '../../src/links/token.ts';

const SECRET = 'a'.repeat(64);
const question_id = `q_${newUid()}`;
const grant = { question_id, version: 1, option: 9, recipient: 200 };

describe('the handle of a button', () => {
  it('fits into 64 bytes, however large its numbers are, and gives back what it was made of', () => {
    const large = { question_id, version: 2_000_000_000, option: 99, recipient: 2_000_000_000_000 };
    for (const one of [grant, { ...grant, option: 0 }, large]) {
      const handle = toHandle(one, SECRET);
      expect(Buffer.byteLength(handle)).toBeLessThanOrEqual(64);
      expect(fromHandle(handle, SECRET)).toEqual(one);
    }
  });

  it('is of no use if anything in it was changed', () => {
    const handle = toHandle(grant, SECRET);
    for (let place = 0; place < handle.length; place += 1) {
      const other = handle[place] === 'a' ? 'b' : 'a';
      // The last character of a signature has two bits that stand for nothing.
      if (place < handle.length - 1) {
        expect(fromHandle(handle.slice(0, place) + other + handle.slice(place + 1), SECRET), handle).toBeUndefined();
      }
    }
    for (const text of ['', '.', 'a.b', handle.slice(1), `${handle}=`, `${handle}.`, ` ${handle}`, `${handle}\n`]) {
      expect(fromHandle(text, SECRET)).toBeUndefined();
    }
    expect(fromHandle(handle, 'b'.repeat(64))).toBeUndefined();
  });

  it('is no link, nor the other way round', () => {
    const token = toToken({ question_id, version: 1, recipient: 'chat', expires_at: 1 }, SECRET);
    expect(fromHandle(token, SECRET)).toBeUndefined();
    expect(fromToken(toHandle(grant, SECRET), SECRET)).toBeUndefined();
    expect(fromToken(token, SECRET)).toMatchObject({ question_id, recipient: 'chat' });
  });
});
