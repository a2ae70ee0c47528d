import { beforeAll } from 'vitest';
import { scratchDatabase } from './engines.ts';
import { freePort } from './ports.ts';
import { type ServiceProcess, spawnService } from './process.ts';
import { signal } from './signals.ts';

/** A real service at one address, which a test may stop and start again. */
export interface PageService {
  readonly origin: string;
  readonly url: string;
  start(): Promise<void>;
  stop(): Promise<void>;
  send: ServiceProcess['send'];
  /** Asks a question as an agent. @returns its id */
  ask(fields?: object): Promise<string>;
}

/** @param env settings, or what makes them of the address of the service */
export function pageService(
  env: Record<string, string> | ((origin: string) => Record<string, string>) = {},
): PageService {
  let running: ServiceProcess | undefined;
  let port = 0;
  let url = '';
  const service: PageService = {
    get origin() {
      return `http://127.0.0.1:${port}`;
    },
    get url() {
      return url;
    },
    async start() {
      const ends: (() => void | Promise<void>)[] = [];
      const given = typeof env === 'function' ? env(service.origin) : env;
      running = spawnService({ ...given, DATABASE_URL: url, PORT: String(port) }, {}, end => ends.push(end));
      await running.listening();
    },
    async stop() {
      running?.kill('SIGTERM');
      await running?.exited;
    },
    send: (...request) => (running as ServiceProcess).send(...request),
    async ask(fields = {}) {
      const { status, body } = await service.send('POST', '/control-signals', signal('guidance_request', fields));
      if (status !== 201) throw new Error(JSON.stringify(body));
      return body.question.question_id;
    },
  };
  beforeAll(async () => {
    const scratch = await scratchDatabase('sqlite');
    url = scratch.url;
    port = await freePort();
    await service.start();
    return async () => {
      await service.stop();
      await scratch.drop();
    };
  });
  return service;
}
