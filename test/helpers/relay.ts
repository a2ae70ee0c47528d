import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';

/** An address of this machine that leads to a port, loses connections at will, and may later lead to another port. */
export interface Relay {
  port: number;
  url: string;
  /** The next answers never arrive, though the service has sent them. */
  loseAnswers(count: number): void;
  /** Ends all connections. */
  cut(): void;
  /** Leads to another port from now on, as a name that is given to another server. It ends all connections. */
  move(port: number): void;
  /** Connections that clients have opened. */
  opened(): number;
}

/** Starts a relay before a port on loopback; it ends with the test. */
export async function startRelay(target: number): Promise<Relay> {
  const sockets = new Set<Socket>();
  let current = target;
  let lost = 0;
  let opened = 0;
  const server = createServer(client => {
    opened += 1;
    const service = connect(current, '127.0.0.1');
    for (const [one, other] of [
      [client, service],
      [service, client],
    ] as const) {
      sockets.add(one);
      one.on('error', () => {});
      one.on('close', () => {
        sockets.delete(one);
        other.destroy();
      });
    }
    client.pipe(service);
    service.on('data', chunk => {
      if (lost === 0) return client.write(chunk);
      lost -= 1;
      return client.destroy();
    });
    service.on('end', () => client.end());
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  onTestFinished(() => {
    server.close();
    cut();
  });
  const { port } = server.address() as AddressInfo;
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    loseAnswers: count => {
      lost = count;
    },
    cut,
    move(next) {
      current = next;
      cut();
    },
    opened: () => opened,
  };
}
