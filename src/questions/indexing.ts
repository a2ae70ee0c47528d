import type { Database, Tx } from '../db/database.ts';
import type { EventLog } from '../events/service.ts';
import type { Search } from '../search/service.ts';
import { listAskedBefore } from './list-repository.ts';
import { searchText } from './question.ts';

interface Dependencies {
  db: Database;
  events: EventLog;
  search: Search;
}

/** The questions that are read at once. */
const BATCH = 20;
/** A transaction begins no further batch after this. Milliseconds. */
const TRANSACTION_MS = 10;

/**
 * Indexes the words of stored questions that are due, newest first: after a migration, an import or a rebuild. Each
 * transaction stores how far it came, so the next process resumes after a crash.
 */
export function createQuestionIndexing({ db, events, search }: Dependencies) {
  let due = true;

  /** @returns whether questions are left */
  async function indexSome(tx: Tx): Promise<boolean> {
    let below = await search.questionsLeft(tx);
    if (below === undefined) return false;
    const began = performance.now();
    // At least one batch: far from its database, a transaction is late before it begins.
    do below = await indexBatch(tx, below);
    while (below !== undefined && performance.now() - began < TRANSACTION_MS);
    await search.saveQuestionsLeft(tx, below);
    return below !== undefined;
  }

  /** @returns the sequence to go on below; undefined at the end */
  async function indexBatch(tx: Tx, below: number): Promise<number | undefined> {
    const sequences = (await listAskedBefore(tx, below, BATCH)).map(row => row.asked_sequence);
    const asked = await events.storedPayloads(tx, sequences);
    for (const sequence of sequences) search.indexQuestion(tx, sequence, searchText(asked.get(sequence) ?? {}));
    return sequences.length < BATCH ? undefined : sequences.at(-1);
  }

  return {
    /** Works in short transactions until all is done; other writes run in between. */
    async run(): Promise<void> {
      due = (await search.questionsLeft(db.read)) !== undefined;
      while (due) due = await db.write(indexSome);
    },
  };
}
