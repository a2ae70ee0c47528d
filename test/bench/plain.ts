import { fastify } from 'fastify';
import type { SignalCommand } from '../../src/signals/command.ts';
import { accepted } from './accepted.ts';
import { endWithParent } from './child.ts';

/*
 * The floor below the floors: Fastify as it comes, without hooks and schemas of ours, answers as much as the service. What
 * is between it and no-store.ts is the price of limits, access, validation and problem documents.
 */

const app = fastify();
app.post('/control-signals', async ({ body }, reply) => reply.code(201).send(accepted(body as SignalCommand)));
app.get('/readyz', () => ({ status: 'ok' }));
await app.listen({ host: '127.0.0.1', port: Number(process.env.PORT) });
endWithParent();
