import { expect } from 'vitest';
import type { TestApp } from './app.ts';
import { Scrape } from './openmetrics.ts';

/** What `GET /metrics` answers, read strictly. */
export async function scrapeOf(service: Pick<TestApp, 'send'>): Promise<Scrape> {
  const { status, headers, body } = await service.send('GET', '/metrics');
  expect(status).toBe(200);
  expect(headers['content-type']).toBe('application/openmetrics-text; version=1.0.0; charset=utf-8');
  return new Scrape(body);
}

/** Longer than any look at the database is shared. Milliseconds. */
export const LOOK_MS = 1001;
