import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { errorName, isA, textOf } from '../src/error-text.ts';

const revoked = () => {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
};
/** Throws at whatever is asked of it, and is what it stands for all the same. */
const trapped = (target: object) => {
  const traps = ['get', 'has', 'ownKeys', 'getPrototypeOf', 'getOwnPropertyDescriptor'];
  const trap = () => {
    throw new Error('trap');
  };
  return new Proxy(target, Object.fromEntries(traps.map(name => [name, trap])));
};
const circular = () => {
  const error = new Error('round') as Error & { self?: unknown };
  error.cause = error;
  return error;
};

describe('the text of what was thrown', () => {
  it.each<[string, unknown, string]>([
    ['an error', new Error('no'), 'no'],
    ['a code', Object.assign(new Error('no'), { code: 'E_NO' }), 'no (E_NO)'],
    ['a code that the message has', Object.assign(new Error('E_NO: no'), { code: 'E_NO' }), 'E_NO: no'],
    [
      'causes',
      new TypeError('fetch failed', { cause: Object.assign(new Error('refused'), { code: 'ECONNREFUSED' }) }),
      'fetch failed; caused by: refused (ECONNREFUSED)',
    ],
    ['an aggregate', new AggregateError([new Error('a'), 'b']), 'AggregateError [a; b]'],
    ['an empty message', new RangeError(''), 'RangeError'],
    ['a message that is no text', Object.assign(new Error(), { message: 7 }), 'Error'],
    ['a plain object', { code: 'E_X', detail: 'rate limited' }, '{"code":"E_X","detail":"rate limited"}'],
    ['an object like an error', { message: 'no', code: 3 }, 'no (3)'],
    ['an object without prototype', Object.assign(Object.create(null), { code: 'E_RATE' }), '{"code":"E_RATE"}'],
    ['a circle', circular(), 'round'],
    ['an empty text', '', '""'],
    ['nothing', undefined, 'undefined'],
    ['a symbol', Symbol('s'), 'Symbol(s)'],
    ['a bigint', 7n, '7'],
    ['a list', [1, { a: null }], '[1,{"a":null}]'],
    ['a date', new Date(0), String(new Date(0))],
    ['a revoked proxy', revoked(), 'an object that cannot be read'],
    ['a hostile proxy', trapped(new Error('hidden')), 'an object that cannot be read'],
    ['errors that cannot be read', Object.assign(new Error('no'), { errors: trapped([]) }), 'no'],
    [
      'a member that throws',
      Object.defineProperty({}, 'a', {
        enumerable: true,
        get: () => {
          throw 1;
        },
      }),
      '{"a":undefined}',
    ],
  ])('shows %s', (_, thrown, text) => expect(textOf(thrown)).toBe(text));

  it('is a short text of whole characters, whatever was thrown', () => {
    const huge = { list: Array(100_000).fill('x'.repeat(100)), text: '\ud83d\ude00'.repeat(1e6), deep: {} as object };
    for (let at = 0, deep = huge.deep; at < 10_000; at += 1) deep = (deep as { next: object }).next = {};
    const anything = fc.oneof(
      fc.anything({ withNullPrototype: true, withBigInt: true, withDate: true, withMap: true, withSparseArray: true }),
      fc.constantFrom(huge, Symbol.iterator, () => {}),
    );
    // The generator itself cannot hold these.
    const makers = fc.constantFrom(
      ...[revoked, circular],
      () => trapped(new Error('hidden')),
      () => trapped([1]),
      () => [trapped([1])],
      () => new Proxy([], { get: (list, name) => (name === 'length' ? trapped({}) : Reflect.get(list, name)) }),
    );
    const thing = fc.oneof(
      anything.map(value => () => value as unknown),
      makers,
    );
    const wrapped = fc.tuple(thing, thing).map(([first, second]) => () => {
      const [cause, error] = [first(), second()];
      const made = Object.assign(new AggregateError([error, cause], '\ud83d'.repeat(3000)), { code: error });
      return Object.assign(made, { cause });
    });
    const members = fc.dictionary(fc.constantFrom('message', 'code', 'errors', 'cause', 'name', 'other'), thing);
    const spoilt = fc.tuple(fc.boolean(), members).map(([isError, members]) => () => {
      const made = isError ? new Error() : {};
      for (const [name, make] of Object.entries(members)) Object.defineProperty(made, name, { value: make() });
      return made;
    });
    fc.assert(
      fc.property(fc.oneof(thing, wrapped, spoilt), make => {
        const thrown = make();
        const text = textOf(thrown);
        expect(text).not.toBe('');
        expect(text.length).toBeLessThanOrEqual(2000);
        expect(text.isWellFormed()).toBe(true);
        expect(typeof isA(thrown, Error)).toBe('boolean');
        errorName(thrown);
      }),
    );
  });
});
