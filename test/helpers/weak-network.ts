import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';

/** A relay before a service on loopback, which loses connections at will. */
export interface WeakNetwork {
  url: string;
  /** The next answers never arrive, though the service has sent them. */
  loseAnswers(count: number): void;
  /** Ends all connections. */
  cut(): void;
  /** Connections that clients have opened. */
  opened(): number;
}

export async function weakNetwork(port: number): Promise<WeakNetwork> {
  const sockets = new Set<Socket>();
  let lost = 0;
  let opened = 0;
  const server = createServer(client => {
    opened += 1;
    const service = connect(port, '127.0.0.1');
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
    client.on('data', chunk => service.write(chunk));
    service.on('data', chunk => {
      if (lost === 0) return client.write(chunk);
      lost -= 1;
      return client.destroy();
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  onTestFinished(() => {
    cut();
    server.close();
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    loseAnswers: count => {
      lost = count;
    },
    cut,
    opened: () => opened,
  };
}
