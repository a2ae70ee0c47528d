import type { HandlerContext } from '../../src/worker/handler.ts';

/** What handlers do that nobody expects; each must stay the outcome of its own attempt. */
const misdeeds: ((message: object, context: HandlerContext) => unknown)[] = [
  () => {
    throw Object.assign(Object.create(null), { code: 'E_RATE' });
  },
  () => {
    throw undefined;
  },
  () => {
    throw Symbol('no');
  },
  () => {
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    throw proxy;
  },
  () => {
    throw new AggregateError([]);
  },
  message => {
    Object.assign(message, { attempts: 99, message_key: 'another' });
    throw new TypeError('fetch failed', { cause: Object.assign(new Error('refused'), { code: 'ECONNREFUSED' }) });
  },
  (_message, context) => {
    const circle: Record<string, unknown> = {};
    circle.self = circle;
    context.record(circle);
  },
  () => Promise.reject({ toString: null }),
];

/** Throws or rejects in one of many ways. */
export function misbehave(message: object, context: HandlerContext): unknown {
  return misdeeds[Math.floor(Math.random() * misdeeds.length)]?.(message, context);
}

/** Rejects and throws where nobody waits for it. */
export function leaveFaultsBehind(): void {
  void Promise.reject(new Error('a promise that nobody awaits'));
  setTimeout(() => {
    throw new Error('a timer that nobody waits for');
  }, 1);
}
