import { Agent, request } from 'node:http';

/** Sends a GET and answers the body of its 200. */
export type Get = (url: string) => Promise<string>;

export interface Latency {
  p50: number;
  p99: number;
}

/** A page of a read: its address, and how many rows each of its pages holds. */
export interface PageOf {
  url: string;
  limit: number;
}

const WARM = 20;
const REQUESTS = 200;
/** A read that is this slow is measured with fewer requests. Milliseconds. */
const PATIENCE = 15_000;

/** Of 200 requests, one after the other. Milliseconds. */
export async function latency(get: Get, url: string): Promise<Latency> {
  const began = performance.now();
  for (let count = 0; count < WARM && performance.now() - began < PATIENCE / 4; count += 1) await get(url);
  const took: number[] = [];
  while (took.length < REQUESTS && performance.now() - began < PATIENCE) {
    const start = performance.now();
    await get(url);
    took.push(performance.now() - start);
  }
  took.sort((a, b) => a - b);
  const at = (share: number) => took[Math.min(took.length - 1, Math.floor(took.length * share))] as number;
  return { p50: at(0.5), p99: at(0.99) };
}

/**
 * The hundredth page of a list, by its cursors: with 50 rows a page, or as many as there are for a hundred pages.
 * Undefined if there are not even a hundred rows.
 */
export async function hundredth(get: Get, url: string): Promise<PageOf | undefined> {
  const { page, rows } = await walk(get, url, 50);
  if (page !== undefined) return { url: page, limit: 50 };
  const limit = Math.floor((rows - 1) / 99);
  if (limit < 1) return undefined;
  const smaller = (await walk(get, url, limit)).page;
  return smaller === undefined ? undefined : { url: smaller, limit };
}

async function walk(get: Get, url: string, limit: number): Promise<{ page?: string; rows: number }> {
  const first = `${url}${url.includes('?') ? '&' : '?'}limit=${limit}`;
  let page = first;
  let rows = 0;
  for (let number = 1; number < 100; number += 1) {
    const { items, next_cursor } = JSON.parse(await get(page)) as { items: unknown[]; next_cursor: string | null };
    rows += items.length;
    if (next_cursor === null) return { rows };
    page = `${first}&cursor=${encodeURIComponent(next_cursor)}`;
  }
  return { page, rows };
}

/** Over one connection that stays open. */
export function overSocket(origin: string): { get: Get; close: () => void } {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const get: Get = url =>
    new Promise((resolve, reject) => {
      const sent = request(origin + url, { agent }, response => {
        const parts: Buffer[] = [];
        response.on('data', part => parts.push(part));
        response.on('error', reject);
        response.on('end', () => {
          const body = Buffer.concat(parts).toString();
          if (response.statusCode === 200) resolve(body);
          else reject(new Error(`${url}: ${response.statusCode} ${body}`));
        });
      });
      sent.on('error', reject);
      sent.end();
    });
  return { get, close: () => agent.destroy() };
}
