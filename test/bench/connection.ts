import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

/** A service that is silent for so long has lost the request. Milliseconds. */
const SILENCE_MS = 60_000;

const END_OF_HEAD = Buffer.from('\r\n\r\n');
const LENGTH = Buffer.from('content-length: ');

/** The head of a request that carries JSON, up to the value of its content-length. */
export function headOf(method: string, path: string): string {
  const body = method === 'GET' ? '' : 'content-type: application/json\r\ncontent-length: ';
  return `${method} ${path} HTTP/1.1\r\nhost: 127.0.0.1\r\n${body}`;
}

/**
 * One kept HTTP/1.1 connection with one request at a time. Reads of an answer only what tells where it ends and whether
 * it is a 2xx: what the client costs is taken from what it measures.
 */
export class Connection {
  readonly #socket: Socket;
  #bytes: Buffer | undefined;
  /** Length of the answer that is coming in; 0 until its head is there. Bytes. */
  #length = 0;
  #bodyAt = 0;
  #resolve: ((body: Buffer) => void) | undefined;
  #reject: (reason: Error) => void = () => {};
  #failure: Error | undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setNoDelay(true).setTimeout(SILENCE_MS);
    socket.on('data', chunk => this.#take(chunk));
    socket.on('timeout', () => {
      if (this.#resolve) this.#fail(new Error(`No answer for ${SILENCE_MS / 1000} s.`));
    });
    socket.on('error', error => this.#fail(error));
    socket.on('close', () => this.#fail(new Error('The service closed the connection.')));
  }

  static async open(port: number): Promise<Connection> {
    const socket = connect({ port, host: '127.0.0.1' });
    await once(socket, 'connect');
    return new Connection(socket);
  }

  static openAll(port: number, count: number): Promise<Connection[]> {
    return Promise.all(Array.from({ length: count }, () => Connection.open(port)));
  }

  /** Sends a whole request (ASCII) and answers the body of its 2xx. Anything else rejects. */
  send(request: string): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      if (this.#failure) return reject(this.#failure);
      this.#resolve = resolve;
      this.#reject = reject;
      this.#socket.write(request, 'latin1');
    });
  }

  async get<T>(path: string): Promise<T> {
    return JSON.parse((await this.send(`${headOf('GET', path)}\r\n`)).toString());
  }

  close(): void {
    this.#socket.destroy();
  }

  #take(chunk: Buffer): void {
    const bytes = this.#bytes ? Buffer.concat([this.#bytes, chunk]) : chunk;
    this.#bytes = bytes;
    if (this.#length === 0 && !this.#readHead(bytes)) return;
    if (bytes.length < this.#length) return;
    const body = bytes.subarray(this.#bodyAt);
    const resolve = this.#resolve;
    this.#bytes = undefined;
    this.#length = 0;
    // The first digit of the status: "HTTP/1.1 201".
    if (bytes[9] !== 0x32 || !resolve) {
      this.#fail(new Error(`An answer that is no 2xx: ${bytes.subarray(0, 12)} ${body.toString().slice(0, 500)}`));
      return;
    }
    this.#resolve = undefined;
    resolve(body);
  }

  /** False while the head is not complete. */
  #readHead(bytes: Buffer): boolean {
    const end = bytes.indexOf(END_OF_HEAD);
    if (end === -1) return false;
    const at = bytes.indexOf(LENGTH);
    if (at === -1 || at > end) {
      this.#fail(new Error(`An answer without a content-length: ${bytes.subarray(0, end)}`));
      return false;
    }
    this.#bodyAt = end + END_OF_HEAD.length;
    this.#length = this.#bodyAt + Number.parseInt(bytes.toString('latin1', at + LENGTH.length, at + 32), 10);
    return true;
  }

  #fail(reason: Error): void {
    this.#failure ??= reason;
    this.#resolve = undefined;
    this.#reject(reason);
    this.#socket.destroy();
  }
}
