import { signal } from '@preact/signals-core';
import { ForumbusError } from '../../client/error.ts';
import { Forumbus } from '../../client/forumbus.ts';

/** The root of the service: this module is at `assets/<root>/page/web/` below it. */
export const base = new URL('../../../../', import.meta.url);

/** Whether the last request got an answer. */
export const online = signal(true);

/** How far the clock of the service is ahead of the browser's. Milliseconds. */
let ahead = 0;
/** Less is no difference: the header has whole seconds, and an answer is on its way for a moment. Milliseconds. */
const ALIKE_MS = 2000;
/** The time by the clock of the service, whose times the page shows. Epoch milliseconds. */
export const present = (): number => Date.now() + ahead;

/** Set while the page is being left: requests that have begun then go on without it. */
let leaving = false;

export function leave<T>(work: () => T): T {
  leaving = true;
  const begun = work();
  leaving = false;
  return begun;
}

async function pageFetch(input: RequestInfo | URL, init: RequestInit = {}): Promise<Response> {
  // The header tells the service that no other page sends the request.
  const headers = { ...(init.headers as Record<string, string>), 'x-forumbus-page': '1' };
  try {
    const response = await fetch(input, { ...init, headers, keepalive: leaving });
    const found = Date.parse(response.headers.get('date') ?? '') - Date.now();
    if (Math.abs(found - ahead) > ALIKE_MS) ahead = found;
    online.value = ![502, 503, 504].includes(response.status);
    return response;
  } catch (error) {
    // A request that the page itself has ended says nothing about the service.
    if ((error as Error).name !== 'AbortError') online.value = false;
    throw error;
  }
}

export const connect = (as: { token?: string; run_id?: string; agent_name?: string } = {}): Forumbus =>
  new Forumbus({ ...as, url: base.href, fetch: pageFetch, retry_seconds: 10 });

export const client = connect();

export function isRefusal(error: unknown, ...codes: string[]): error is ForumbusError {
  return error instanceof ForumbusError && codes.includes(error.code);
}

/** A sentence for people about a request that failed. */
export function sentenceOf(error: unknown): string {
  if (isRefusal(error, 'UNREACHABLE')) return 'The service does not answer. Nothing is lost; try again in a moment.';
  return error instanceof Error ? error.message : String(error);
}

/** All rows of a list, up to `most`. */
export async function allOf<T>(
  list: (query: { limit: number; cursor?: string }) => Promise<{ items: T[]; next_cursor: string | null }>,
  most: number,
): Promise<T[]> {
  const rows: T[] = [];
  for (let cursor: string | undefined; ; ) {
    const page = await list({ limit: Math.min(200, most - rows.length), ...(cursor && { cursor }) });
    rows.push(...page.items);
    if (page.next_cursor === null || rows.length >= most) return rows;
    cursor = page.next_cursor;
  }
}
