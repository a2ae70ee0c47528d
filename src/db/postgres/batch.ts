import type pg from 'pg';
import type { Compiled } from '../statement.ts';
import { CALL, type Form, formOf, tableOf } from './batch-form.ts';

/*
 * Works of one group send the same statements, such as inserts of events, in one turn of the event loop. The server
 * gets each of them once, with the parameters of all calls as arrays. It starts one statement instead of a hundred.
 *
 * - call: one statement of one work, with its parameters.
 * - batch: the calls of one statement that are sent together.
 */

/** What the server answers to one call. */
export type BatchAnswer = Pick<pg.QueryResult, 'rows' | 'rowCount'>;

interface Call {
  parameters: unknown[];
  resolve(answer: BatchAnswer): void;
  reject(error: unknown): void;
}

interface Batch {
  compiled: Compiled;
  /** Undefined for a single call. */
  form: Form | undefined;
  calls: Call[];
  /** The keys that its calls change. */
  keys: Set<string>;
}

/** A connection with the stream that it sends on, which the types of the driver leave out. */
type Client = pg.ClientBase & { connection: Pick<pg.Connection, 'stream'> };

/** The statements of a database and their forms. */
export interface Forms {
  of(compiled: Compiled): Form | undefined;
  /** The text for several calls; undefined until the server has told the types of the parameters. */
  text(compiled: Compiled, form: Form): string | undefined;
}

/** @param typesOf asks the server for the types of the parameters of a statement */
export function createForms(typesOf: (text: string) => Promise<string[]>): Forms {
  const forms = new Map<Compiled, Form | undefined>();
  const texts = new Map<Compiled, string | undefined>();
  return {
    of(compiled) {
      if (!forms.has(compiled)) forms.set(compiled, formOf(compiled.text));
      return forms.get(compiled);
    },
    text(compiled, form) {
      if (texts.has(compiled)) return texts.get(compiled);
      texts.set(compiled, undefined);
      typesOf(compiled.text).then(
        types => texts.set(compiled, form.text(tableOf(types))),
        // The server is not there: the next batch asks again.
        () => texts.delete(compiled),
      );
      return undefined;
    },
  };
}

/** Collects the calls of one transaction until the code that makes them waits, and sends them. */
export class Batches {
  readonly #forms: Forms;
  readonly #client: Client;
  #waiting: Batch[] = [];
  /** How many batches were sent before the waiting ones. */
  #sent = 0;

  constructor(forms: Forms, client: pg.ClientBase) {
    this.#forms = forms;
    this.#client = client as Client;
  }

  /**
   * Makes the function with which one work calls statements. Its calls run in their order; those of other works may run
   * between them. `counts` says whether the answer is used.
   */
  newCaller() {
    let last = 0;
    return (compiled: Compiled, parameters: unknown[], counts: boolean): Promise<BatchAnswer> =>
      new Promise((resolve, reject) => {
        // After everything that runs in this turn: the other works of the group get as far.
        if (this.#waiting.length === 0) process.nextTick(() => this.flush());
        last = this.#add(last, compiled, { parameters, resolve, reject }, counts);
      });
  }

  /** Adds a call to the first batch that may have it, from the batch `last` on. Answers the number of the batch. */
  #add(last: number, compiled: Compiled, call: Call, counts: boolean): number {
    const known = this.#forms.of(compiled);
    const form = counts && !known?.answers ? undefined : known;
    const key = form?.keys?.map(index => call.parameters[index]).join('\0');
    const takes = (batch: Batch) => batch.form === form && !(key !== undefined && batch.keys.has(key));
    const first = last - this.#sent;
    let at = form ? this.#waiting.findIndex((batch, index) => index >= first && takes(batch)) : -1;
    if (at === -1) at = this.#waiting.push({ compiled, form, calls: [], keys: new Set() }) - 1;
    const batch = this.#waiting[at] as Batch;
    batch.calls.push(call);
    if (key !== undefined) batch.keys.add(key);
    return this.#sent + at;
  }

  /** Sends what waits, with one call of the system. */
  flush(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#sent += waiting.length;
    const { stream } = this.#client.connection;
    stream.cork();
    try {
      for (const batch of waiting) this.#send(batch);
    } finally {
      stream.uncork();
    }
  }

  /** Drops what waits: the transaction is rolled back. */
  discard(): void {
    const reason = new Error('The transaction is rolled back.');
    for (const { reject } of this.#waiting.splice(0).flatMap(({ calls }) => calls)) reject(reason);
  }

  #send({ compiled, form, calls }: Batch): void {
    const { name } = compiled;
    const text = form && calls.length > 1 ? this.#forms.text(compiled, form) : undefined;
    if (!form || text === undefined) {
      for (const { parameters, resolve, reject } of calls) {
        this.#client.query({ name, text: compiled.text, values: parameters }).then(resolve, reject);
      }
      return;
    }
    const values = (calls[0] as Call).parameters.map((_, index) => arrayText(calls, index));
    this.#client.query({ name: `${name}s`, text, values }).then(
      ({ rows }) => {
        const shares = form.numbered ? sharesOf(rows, calls.length) : rows.map(row => [row]);
        calls.forEach(({ resolve }, index) => {
          const own = shares[index] ?? [];
          resolve({ rows: own, rowCount: form.numbered ? own.length : 1 });
        });
      },
      error => {
        for (const { reject } of calls) reject(error);
      },
    );
  }
}

/**
 * One parameter of all calls, as the text of an array (https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO). The
 * driver makes the same, with several times the garbage.
 */
function arrayText(calls: readonly Call[], index: number): string {
  const elements = calls.map(({ parameters }) => {
    const value = parameters[index];
    if (value === null || value === undefined) return 'null';
    return typeof value === 'string' ? `"${value.replace(/["\\]/g, '\\$&')}"` : String(value);
  });
  return `{${elements.join(',')}}`;
}

/** The rows of each call. */
function sharesOf(rows: Record<string, unknown>[], calls: number): object[][] {
  const shares: object[][] = Array.from({ length: calls }, () => []);
  for (const { [CALL]: number, ...row } of rows) shares[(number as number) - 1]?.push(row);
  return shares;
}
