import { computed, signal } from '@preact/signals-core';
import type { Actor, Me } from '../../client/index.ts';
import { base, client, connect, isRefusal } from './service.ts';
import { read, settings } from './settings.ts';

/** The person, as the service sees him; undefined until that is known, null without a login. */
export const me = signal<Me | null | undefined>(undefined);

export const mayAct = computed(() => me.value?.role === 'operator' || me.value?.role === 'admin');
export const isAdmin = computed(() => me.value?.role === 'admin' && me.value.access === 'token');
export const myName = computed(() => me.value?.name ?? (settings.name.value.trim() || 'operator'));

/** Whether the person sees all runs; what is about no run is hidden from others. */
export const seesAll = computed(() => (me.value?.runs ?? null) === null);
/** Whether the token is for several runs: the person then looks at one of them. */
export const isOfSeveral = computed(() => !seesAll.value && me.value?.run_id === null);
/** The run that such a person has chosen, for as long as the page is loaded. */
export const chosenRun = read('run', '');
/** What lists have to name. */
export const ofRun = (): { run_id?: string } => (isOfSeveral.value ? { run_id: chosenRun } : {});

/** The person as `type:name`, for marks of what was seen. */
export const viewer = computed(() => `${me.value?.actor?.type ?? 'operator'}:${myName.value}`);

/** Names the person in writes: a token does it itself. */
export function asMe(): { actor?: Actor } {
  return me.value?.access === 'open' ? { actor: { type: 'operator', name: myName.value } } : {};
}

/** Takes the code of a login link out of the address, where it must not stay. */
export function takeCode(): string | undefined {
  const [, code] = /^#login=([\w-]+)$/.exec(location.hash) ?? [];
  if (code !== undefined) history.replaceState(null, '', location.pathname);
  return code;
}

/** Logs in by the code of a link, if there is one, and reads who the person is. */
export async function begin(code: string | undefined): Promise<void> {
  if (code !== undefined) await client.logins.redeem(code).catch(() => {});
  await whoAmI();
}

async function whoAmI(): Promise<void> {
  try {
    const person = await client.me();
    me.value = person.role === 'agent' ? null : person;
  } catch (error) {
    if (!isRefusal(error, 'UNAUTHORIZED', 'FORBIDDEN')) throw error;
    me.value = null;
  }
}

/** @throws ForumbusError if the token is refused */
export async function logIn(token: string): Promise<void> {
  await connect({ token }).logins.open();
  await whoAmI();
}

/** The tabs of a browser share its login. Each says whose token it has, if any. */
export const tabs = new BroadcastChannel(base.pathname);
/** Asks the other tabs to send what waits for its undo. */
export const SEND = true;

export async function logOut(): Promise<void> {
  const { next } = await client.logins.close();
  me.value = null;
  if (next !== null) location.assign(next);
}

/** Shows the login if an error says that it has ended. @returns whether it has */
export function hasEnded(error: unknown): boolean {
  if (!isRefusal(error, 'UNAUTHORIZED')) return false;
  me.value = null;
  return true;
}
