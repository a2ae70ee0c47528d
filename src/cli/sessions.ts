import { createHash } from 'node:crypto';
import { appendFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Awaited, Notes, SessionNotes } from '../hooks/hook.ts';
import { isAlive, markOf, type ProcessMark } from './background.ts';
import type { StateFolder } from './state-folder.ts';

const FOLDER = 'sessions';
const AWAITED = 'awaited';

/** What the hooks of a session on this machine leave for each other. Each fact is a file, so they need no lock. */
export class Sessions implements Notes {
  readonly #state: StateFolder;

  constructor(state: StateFolder) {
    this.#state = state;
  }

  read(session: string): SessionNotes {
    return this.#state.read<SessionNotes>(nameOf(session, 'json')) ?? {};
  }

  write(session: string, notes: SessionNotes): void {
    this.#state.write(nameOf(session, 'json'), notes);
  }

  /** Makes this process the one that waits for the session; one that did so before ends. */
  takeWaiter(session: string): void {
    const before = this.#state.read<ProcessMark>(nameOf(session, 'waiter'));
    this.#state.write(nameOf(session, 'waiter'), markOf(process.pid));
    if (before && before.pid !== process.pid) stop(before);
  }

  /** Whether this process is the one that waits for the session. */
  isWaiter(session: string): boolean {
    return this.#state.read<ProcessMark>(nameOf(session, 'waiter'))?.pid === process.pid;
  }

  /** Ends what waits for a session, and forgets the session. */
  end(session: string): void {
    const waiter = this.#state.read<ProcessMark>(nameOf(session, 'waiter'));
    if (waiter) stop(waiter);
    for (const kind of ['waiter', 'json']) rmSync(this.#state.file(nameOf(session, kind)), { force: true });
  }

  /** Forgets sessions whose end was not seen. */
  clean(): void {
    this.#state.clean(FOLDER);
  }

  /** Adds variables to a file of `export` lines for a shell. */
  exportTo(file: string, variables: Record<string, string>): void {
    const lines = Object.entries(variables).map(
      ([name, value]) => `export ${name}='${value.replaceAll("'", "'\\''")}'\n`,
    );
    appendFileSync(file, lines.join(''));
  }

  /** A process that has died waits for nothing. */
  readonly awaited: Awaited = {
    add: id => this.#state.write(awaitedName(id), markOf(process.pid)),
    remove: id => rmSync(join(this.#state.path, awaitedName(id)), { force: true }),
    has: id => {
      const mark = this.#state.read<ProcessMark>(awaitedName(id));
      return mark !== undefined && isAlive(mark);
    },
  };
}

/** A host's id may hold anything. */
function nameOf(session: string, kind: string): string {
  return `${FOLDER}/${createHash('sha256').update(session).digest('hex').slice(0, 32)}.${kind}`;
}

function awaitedName(question_id: string): string {
  return `${AWAITED}/${createHash('sha256').update(question_id).digest('hex').slice(0, 32)}`;
}

function stop(mark: ProcessMark): void {
  if (!isAlive(mark)) return;
  try {
    process.kill(mark.pid, 'SIGTERM');
  } catch {
    // It has ended.
  }
}
