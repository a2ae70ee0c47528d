import type { AddressGuard } from './addresses.ts';

/** A connection that goes on in both directions. */
interface Socket {
  /** Resolves when it is open. Rejects if it never is. */
  opened: Promise<void>;
  /** Resolves when it has ended. */
  closed: Promise<void>;
  /** Sends a text; one for a connection that has ended goes nowhere. */
  send: (text: string) => void;
}

/** Opens a WebSocket, until `signal` is aborted. @param heard gets each text; it must not throw */
export type OpenSocket = (url: URL, signal: AbortSignal, heard: (text: string) => void) => Socket;

/** What Node's own WebSocket connects with. It is no public class, but the one of the dispatcher that all requests use. */
type Agent = new (options: { connect: object }) => NonNullable<ConstructorParameters<typeof WebSocket>[1]>;

/** Makes a client of WebSockets that connects to allowed addresses only. It is the one of Node. */
export function createOpenSocket(guard: AddressGuard): OpenSocket {
  return (url, signal, heard) => {
    const fault = guard.fault(url, 'socket');
    if (fault !== undefined) throw new Error(`The URL ${fault}.`);
    const lookup = guard.lookup(url.protocol === 'ws:');
    // Types of browsers know no options.
    const socket = new WebSocket(url, { dispatcher: new (agentClass())({ connect: { lookup } }) } as never);
    const opened = Promise.withResolvers<void>();
    const closed = Promise.withResolvers<void>();
    // A caller that waits for the end only need not handle a socket that never opened.
    opened.promise.catch(() => {});
    // The other side need not agree.
    const end = () => {
      socket.close();
      closed.resolve();
    };
    signal.addEventListener('abort', end);
    if (signal.aborted) end();
    socket.addEventListener('open', () => opened.resolve());
    socket.addEventListener('message', ({ data }) => typeof data === 'string' && heard(data));
    socket.addEventListener('error', () => opened.reject(new Error(`There is no connection to ${url.host}.`)));
    socket.addEventListener('close', () => {
      signal.removeEventListener('abort', end);
      opened.reject(new Error(`The connection to ${url.host} was closed at once.`));
      closed.resolve();
    });
    return {
      opened: opened.promise,
      closed: closed.promise,
      send: text => socket.readyState === WebSocket.OPEN && socket.send(text),
    };
  };
}

/** The agent whose connections can be told how to resolve a name. */
function agentClass(): Agent {
  const shared = (globalThis as Record<symbol, unknown>)[Symbol.for('undici.globalDispatcher.1')];
  if (!shared) throw new Error('This version of Node.js does not let a WebSocket choose its address.');
  return shared.constructor as Agent;
}
