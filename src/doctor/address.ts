import { once } from 'node:events';
import { createServer } from 'node:net';
import type { Config } from '../config.ts';
import { errorCode } from '../db/errors.ts';
import { type Finding, problem } from './finding.ts';

/** Checks that this machine can listen on HOST. On another port, since a service may run on its own. */
export async function checkAddress({ HOST }: Pick<Config, 'HOST'>): Promise<Finding[]> {
  const server = createServer();
  try {
    await once(server.listen(0, HOST), 'listening');
    return [];
  } catch (error) {
    const finding = `The service cannot listen on ${HOST} (${errorCode(error)}).`;
    return [problem('address', finding, 'Set HOST to an address of this machine: until then no start succeeds.')];
  } finally {
    server.close();
  }
}
