import type { FastifyInstance, InjectOptions } from 'fastify';
import { type Logger, pino } from 'pino';
import { buildApp } from '../../src/app.ts';
import { type Config, readConfig } from '../../src/config.ts';
import type { Engine } from '../../src/db/engine.ts';
import type { Overrides } from '../../src/services.ts';
import { type Scratch, scratchDatabase } from './engines.ts';

/** A service that has not listened, on a scratch database. */
export interface TestApp {
  app: FastifyInstance;
  url: string;
  /** Sends a request; a `body` goes as JSON. */
  send: (
    method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE',
    url: string,
    body?: unknown,
    headers?: Record<string, string>,
  ) => Promise<Answer>;
  /** Closes the service and starts it again on its database. */
  restart: () => Promise<void>;
  close: () => Promise<void>;
}

export interface Answer {
  status: number;
  headers: Record<string, unknown>;
  // biome-ignore lint/suspicious/noExplicitAny: a test looks into whatever came back
  body: any;
}

interface Setup {
  /** Run on this database instead of a new one; it is left alone at the end. */
  database?: Scratch;
  config?: Partial<Record<keyof Config, string>>;
  overrides?: Overrides;
  log?: Logger;
}

/**
 * Builds the app as main.ts does. By default nothing is dispatched until the test asks for it (ROLE=http);
 * `config: { ROLE: 'all' }` starts the worker.
 */
export async function startApp(
  engine: Engine,
  { database, config = {}, overrides = {}, log = pino({ level: process.env.TEST_LOG ?? 'silent' }) }: Setup = {},
): Promise<TestApp> {
  const scratch = database ?? (await scratchDatabase(engine));
  // The event loop is also the test's here, and as late as that makes it.
  const settings = readConfig({ ROLE: 'http', MAX_EVENT_LOOP_DELAY_MS: '0', ...config, DATABASE_URL: scratch.url });
  const build = async () => {
    const built = await buildApp(settings, log, overrides);
    await built.ready();
    return built;
  };
  let app = await build();
  return {
    get app() {
      return app;
    },
    url: scratch.url,
    async restart() {
      await app.close();
      app = await build();
    },
    async send(method, url, body, headers = {}) {
      const json = body === undefined ? {} : { payload: JSON.stringify(body) };
      const type = body === undefined ? {} : { 'content-type': 'application/json' };
      const options: InjectOptions = { method, url, ...json, headers: { ...type, ...headers } };
      const response = await app.inject(options);
      const isJson = method !== 'HEAD' && /[/+]json\b/.test(String(response.headers['content-type']));
      return { status: response.statusCode, headers: response.headers, body: isJson ? response.json() : response.body };
    },
    async close() {
      await app.close();
      if (!database) await scratch.drop();
    },
  };
}
