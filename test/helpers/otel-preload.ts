import { registerSdk } from './otel.ts';

/*
 * For `node --import`: an SDK whose exporter writes spans among the service's log lines.
 */
registerSdk(span => {
  process.stdout.write(`${JSON.stringify({ level: 20, msg: `span ${span.name}`, span })}\n`);
});
