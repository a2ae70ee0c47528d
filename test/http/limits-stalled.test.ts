import { connect } from 'node:net';
import { promisify } from 'node:util';
import { fastify } from 'fastify';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { useStallTimeout } from '../../src/http/limits.ts';
import { listen } from '../helpers/socket.ts';

/** For what happens a moment after its cause. */
const PATIENCE = { timeout: 10_000, interval: 10 };

describe('an answer that its client does not take', () => {
  it('is given up, and one that is taken slowly is not', async () => {
    const app = fastify();
    onTestFinished(() => app.close());
    useStallTimeout(app, 1000);
    const large = 'x'.repeat(40_000_000);
    app.get('/', () => large);
    const port = await listen(app);
    const ask = () => {
      const socket = connect(port, '127.0.0.1').on('error', () => {});
      socket.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n');
      return socket;
    };
    const connections = promisify(app.server.getConnections.bind(app.server));
    const slow = ask();
    // Nobody reads from this one.
    ask();
    let taken = 0;
    const started = performance.now();
    slow.on('data', chunk => {
      taken += chunk.length;
      // Slow for longer than the limit, but never silent for as long.
      slow.pause();
      setTimeout(() => slow.resume(), performance.now() - started < 1500 ? 4 : 0);
    });
    await vi.waitFor(() => expect(taken).toBeGreaterThan(large.length), PATIENCE);
    await vi.waitFor(async () => expect(await connections()).toBe(1), PATIENCE);
    slow.destroy();
  });
});
