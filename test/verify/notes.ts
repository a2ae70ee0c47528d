import { closeSync, openSync, readSync } from 'node:fs';

/** One time that the ordinary handler was given a signal. */
export interface Note {
  signal_id: string;
  sequence: number;
  lane: string;
  attempt: number;
  idempotency_key: string;
  pid: number;
  /** Epoch milliseconds. */
  at: number;
}

/** The ordinary handler's file, read as it grows. Its lines are in the order in which they were written. */
export class Notes {
  readonly all: Note[] = [];
  /** Sequences of the signals that there is a line of. */
  readonly handled = new Set<number>();
  readonly #path: string;
  readonly #chunk = Buffer.alloc(1 << 16);
  #offset = 0;
  #rest = '';

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
        const lines = (this.#rest + this.#chunk.toString('utf8', 0, size)).split('\n');
        this.#rest = lines.pop() ?? '';
        for (const line of lines) {
          const note: Note = JSON.parse(line);
          this.all.push(note);
          this.handled.add(note.sequence);
        }
      }
    } finally {
      closeSync(file);
    }
  }
}
