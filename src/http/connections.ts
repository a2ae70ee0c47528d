import { readFileSync } from 'node:fs';
import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { normalizeIP } from '@fastify/rate-limit';
import type { FastifyBaseLogger } from 'fastify';
import { errorCode } from '../db/errors.ts';

const CONNECTIONS = 10_000;
const CONNECTIONS_PER_ADDRESS = 5000;
/** Files that the process needs besides connections: of the database, and to read about itself. */
const OTHER_FILES = 128;
/** Least time between two warnings of connections that cannot be accepted. Milliseconds. */
const WARNING_INTERVAL_MS = 10_000;

interface ConnectionLimits {
  total: number;
  perAddress: number;
}

/** Whether a connection has a request in progress, and whether it has ever shown a valid token. */
type Rank = 'waiting' | 'busy' | 'trusted waiting' | 'trusted busy';

/** The connections that make room, in this order; one that has a trusted request in progress never does. */
const EVICTABLE = ['waiting', 'busy', 'trusted waiting'] as const;

/**
 * Caps the connections, in total and per address. A connection beyond a cap takes the place of another. First goes the
 * one that has waited longest for a complete request head, then one that has shown no valid token. So neither idle
 * connections nor slow heads keep others out, and callers with a token keep their connections. If none can make room,
 * the new connection is closed without an answer.
 * @param isProxy whether the connections from an address are those of many callers: only the total cap counts for them
 * @returns marks the connection of a caller that has shown a valid token
 */
export function limitConnections(
  server: Server,
  log: Pick<FastifyBaseLogger, 'warn'>,
  isProxy: (address: string) => boolean,
  { total, perAddress }: ConnectionLimits = connectionLimits(openFilesLimit()),
): (socket: Socket) => void {
  const all = new Group();
  const addresses = new Map<string, Group>();
  const known = new Map<Socket, Connection>();
  let warnedAt = Number.NEGATIVE_INFINITY;

  const evict = (group: Group): boolean => {
    const oldest = group.oldest();
    if (!oldest) return false;
    forget(oldest);
    oldest.destroy();
    return true;
  };
  const forget = (socket: Socket) => {
    const connection = known.get(socket);
    if (!connection) return;
    known.delete(socket);
    connection.leave();
    if (connection.group.size === 0) addresses.delete(connection.address);
  };
  server.on('connection', socket => {
    const address = normalizeIP(socket.remoteAddress ?? '');
    const group = addresses.get(address) ?? new Group();
    const most = isProxy(address) ? total : perAddress;
    if ((group.size >= most && !evict(group)) || (all.size >= total && !evict(all))) {
      socket.destroy();
      return;
    }
    addresses.set(address, group);
    known.set(socket, new Connection(socket, address, group, all));
    socket.once('close', () => forget(socket));
  });
  server.on('request', ({ socket }, response) => {
    known.get(socket)?.begin();
    response.once('close', () => known.get(socket)?.end());
  });
  // Node closes a connection for which no file is left, but may fail to do so.
  server.on('error', error => {
    if (!server.listening) return;
    if (/^(EMFILE|ENFILE)$/.test(errorCode(error) ?? '')) evict(all);
    if (performance.now() - warnedAt < WARNING_INTERVAL_MS) return;
    warnedAt = performance.now();
    log.warn({ err: error }, 'a connection could not be accepted');
  });
  return socket => known.get(socket)?.trust();
}

/** Connections by rank, those of the oldest rank first. */
class Group {
  size = 0;
  readonly #ranks: Record<Rank, Set<Socket>> = {
    waiting: new Set(),
    busy: new Set(),
    'trusted waiting': new Set(),
    'trusted busy': new Set(),
  };

  add(socket: Socket, rank: Rank): void {
    this.size += 1;
    this.#ranks[rank].add(socket);
  }

  remove(socket: Socket, rank: Rank): void {
    this.size -= 1;
    this.#ranks[rank].delete(socket);
  }

  /** The connection that makes room next. */
  oldest(): Socket | undefined {
    for (const rank of EVICTABLE) {
      const [first] = this.#ranks[rank];
      if (first) return first;
    }
    return undefined;
  }
}

/** A connection in the groups of its address and of all. */
class Connection {
  readonly #socket: Socket;
  readonly address: string;
  readonly group: Group;
  readonly #all: Group;
  #requests = 0;
  #trusted = false;
  #rank: Rank = 'waiting';

  constructor(socket: Socket, address: string, group: Group, all: Group) {
    this.#socket = socket;
    this.address = address;
    this.group = group;
    this.#all = all;
    this.#enter();
  }

  begin(): void {
    this.#requests += 1;
    this.#update();
  }

  end(): void {
    this.#requests -= 1;
    this.#update();
  }

  trust(): void {
    this.#trusted = true;
    this.#update();
  }

  leave(): void {
    this.group.remove(this.#socket, this.#rank);
    this.#all.remove(this.#socket, this.#rank);
  }

  #enter(): void {
    this.group.add(this.#socket, this.#rank);
    this.#all.add(this.#socket, this.#rank);
  }

  #update(): void {
    this.leave();
    const state = this.#requests > 0 ? 'busy' : 'waiting';
    this.#rank = this.#trusted ? `trusted ${state}` : state;
    this.#enter();
  }
}

/** @param files the most files that the process may open */
export function connectionLimits(files: number): ConnectionLimits {
  const total = Math.min(CONNECTIONS, Math.max(files - OTHER_FILES, Math.floor(files / 2)));
  return { total, perAddress: Math.min(CONNECTIONS_PER_ADDRESS, total) };
}

/** The most files that this process may open (`ulimit -n`); Infinity where the system does not say. */
function openFilesLimit(): number {
  try {
    const [, limit] = /^Max open files +(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? [];
    return Number(limit ?? Number.POSITIVE_INFINITY);
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}
