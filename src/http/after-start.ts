import type { FastifyInstance } from 'fastify';

/** By then, those who waited for the start have been answered. Milliseconds. */
const AFTER_START_MS = 10_000;

/**
 * Does a longer work some time after the service has begun to listen: at a start, all that waited for it comes at once.
 * What needs the work before that does it itself.
 */
export function afterStart(app: FastifyInstance, work: () => unknown): void {
  let timer: NodeJS.Timeout | undefined;
  async function run(): Promise<void> {
    try {
      await work();
    } catch (error) {
      app.log.error({ err: error }, 'what follows a start has failed');
    }
  }
  app.addHook('onListen', async () => {
    timer = setTimeout(() => void run(), AFTER_START_MS).unref();
  });
  app.addHook('onClose', async () => clearTimeout(timer));
}
