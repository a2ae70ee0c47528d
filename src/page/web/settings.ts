import { effect, type Signal, signal } from '@preact/signals-core';

const PREFIX = 'forumbus:';

/** A value that a reload keeps, in the storage of the browser, and all its tabs share. */
export function stored<T>(name: string, initial: T): Signal<T> {
  const kept = signal(read(name, initial));
  effect(() => write(name, kept.value));
  addEventListener('storage', ({ key }) => {
    if (key === PREFIX + name) kept.value = read(name, initial);
  });
  return kept;
}

export function read<T>(name: string, initial: T): T {
  try {
    const text = localStorage.getItem(PREFIX + name);
    return text === null ? initial : JSON.parse(text);
  } catch {
    return initial;
  }
}

/** @param value undefined removes it */
export function write(name: string, value: unknown): void {
  try {
    if (value === undefined) localStorage.removeItem(PREFIX + name);
    else localStorage.setItem(PREFIX + name, JSON.stringify(value));
  } catch {
    // Without storage, or a full one, the page works until it is left.
  }
}

/** The names of all values that are kept. */
export function names(): string[] {
  try {
    return Object.keys(localStorage).flatMap(key => (key.startsWith(PREFIX) ? key.slice(PREFIX.length) : []));
  } catch {
    return [];
  }
}

export const settings = {
  /** Keys of one letter, which screen readers and speech input may need themselves (WCAG 2.1.4). */
  shortcuts: stored('shortcuts', true),
  notifications: stored('notifications', false),
  sound: stored('sound', false),
  /** The name under which a person acts on a service without tokens. */
  name: stored('name', ''),
};
