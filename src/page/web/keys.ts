import { useLayoutEffect } from 'preact/hooks';
import { settings } from './settings.ts';

/** What a key does; false if it has nothing to do here. */
export type Keys = Record<string, () => unknown>;

const stack: Keys[] = [];
/** Keys that move, and so go on while they are held down. */
const MOVES = /^([jk]|Arrow.+)$/;
/** Who goes on typing when a field is gone gives no commands: keys rest so long after the last letter. Milliseconds. */
const REST_MS = 1000;
let typedAt = -REST_MS;
/** The first key of a pair such as `g i`. */
let prefix = '';

/** Keys of a view, for as long as it is shown. Those of the view that came last win. */
export function useKeys(keys: Keys): void {
  // Before the next key, which must find the state that this one has left.
  useLayoutEffect(() => {
    stack.push(keys);
    return () => void stack.splice(stack.indexOf(keys), 1);
  });
}

export function listenToKeys(): void {
  addEventListener('keydown', event => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const isResting = event.target === document.body && event.timeStamp - typedAt < REST_MS;
    if (isTyping(event.target) || isResting) {
      if (event.key.length === 1) typedAt = event.timeStamp;
      return;
    }
    if (!settings.shortcuts.value || document.querySelector('dialog[open]')) return;
    // An act moves the focus: a key held down would act on one question after the other.
    if (event.repeat && !MOVES.test(event.key)) return;
    const key = prefix + event.key;
    prefix = '';
    if (event.key === 'g' && key === 'g') {
      prefix = 'g ';
      return;
    }
    const acts = stack.flatMap(keys => (Object.hasOwn(keys, key) ? [keys[key]] : []));
    if (acts.toReversed().some(act => act?.() !== false)) event.preventDefault();
  });
}

function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && target.matches('input:not([type=checkbox], [type=radio]), textarea, select');
}
