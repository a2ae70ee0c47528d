import { closeSync, openSync, readSync } from 'node:fs';

/** The beginning or the end of one attempt, as its handler wrote it. */
export interface Note {
  consumer: string;
  message_id: string;
  topic: string;
  key: string | null;
  attempt: number;
  generation: number;
  idempotency_key: string;
  pid: number;
  /** Epoch milliseconds. */
  at: number;
  phase: 'begin' | 'done' | 'failed' | 'dead';
  /** Since the beginning of the attempt. Milliseconds. */
  took: number;
}

/** The file of the handlers, read as it grows. Its lines are in the order in which they were written. */
export class Notes {
  readonly all: Note[] = [];
  readonly #path: string;
  readonly #chunk = Buffer.alloc(1 << 16);
  #offset = 0;
  #rest: Buffer = Buffer.alloc(0);

  constructor(path: string) {
    this.#path = path;
  }

  /** Reads what is new. */
  read(): void {
    const file = openSync(this.#path, 'a+');
    try {
      for (let size = -1; size !== 0; ) {
        size = readSync(file, this.#chunk, 0, this.#chunk.length, this.#offset);
        this.#offset += size;
        const read = Buffer.concat([this.#rest, this.#chunk.subarray(0, size)]);
        const end = read.lastIndexOf('\n') + 1;
        this.#rest = Buffer.from(read.subarray(end));
        for (const line of read.toString('utf8', 0, end).split('\n')) if (line) this.all.push(JSON.parse(line));
      }
    } finally {
      closeSync(file);
    }
  }
}
