import { isDeepStrictEqual } from 'node:util';
import type { Control } from '../control/service.ts';
import type { Tx } from '../db/database.ts';
import type { QuestionService } from '../questions/service.ts';
import type { ThreadService } from '../threads/service.ts';
import { toThread } from '../threads/thread.ts';
import { BATCH, faultOf, type Numbered } from './lines.ts';

interface Dependencies {
  threads: Pick<ThreadService, 'byId' | 'restore'>;
  control: Pick<Control, 'named' | 'restore'>;
  questions: Pick<QuestionService, 'rows' | 'restore'>;
}

/** What the first line of an export says. */
interface Head {
  run_id: string;
  /** The sequence up to which it has events. */
  up_to: number;
}

type Of<T extends Numbered['type']> = Extract<Numbered, { type: T }>;

/**
 * Completes rows that were computed from the events of an export by its views. They tell versions of threads and
 * agents, when agents were seen, and times that are not those of an event. A run may go on while it is exported, so a
 * view can be newer than the events. A thing without events gets no row.
 */
export function createViewImport({ threads, control, questions }: Dependencies) {
  async function importAgents(tx: Tx, { run_id }: Head, lines: Of<'agent'>[]): Promise<void> {
    const views = new Map(lines.map(({ agent }) => [agent.agent_name, agent]));
    const rows = await control.named(tx, run_id, [...views.keys()]);
    const seen = (at: string | null) => (at === null ? null : Date.parse(at));
    await control.restore(
      tx,
      rows.map(row => {
        const view = views.get(row.agent_name);
        return view ? { ...row, version: view.version, last_seen_at: seen(view.last_seen_at) } : row;
      }),
    );
  }

  async function importQuestions(tx: Tx, lines: Of<'question'>[]): Promise<void> {
    const received = new Map(lines.map(({ question }) => [question.question_id, question.acknowledged_at]));
    const rows = await questions.rows(tx, [...received.keys()]);
    await questions.restore(
      tx,
      rows.map(row => {
        const at = received.get(row.question_id) ?? null;
        // Of several that are acknowledged together, the events may be a moment later.
        return row.acknowledged_at === null || at === null ? row : { ...row, acknowledged_at: Date.parse(at) };
      }),
    );
  }

  /** @throws StartError if the events do not lead to a view */
  async function importThreads(tx: Tx, file: string, { up_to }: Head, lines: Of<'thread'>[]): Promise<void> {
    const ids = lines.map(({ thread }) => thread.thread_id);
    const rows = new Map((await threads.byId(tx, ids)).map(row => [row.thread_id, row]));
    const changes = lines.flatMap(({ thread, number }) => {
      const { thread_id, version } = thread;
      // The first event may be a moment later.
      const opened_at = Date.parse(thread.opened_at);
      const row = rows.get(thread_id);
      const isNewer = thread.last_sequence > up_to;
      if (!row && isNewer) return [];
      if (!row) throw faultOf(file, number, `the events of the thread ${thread_id} are missing`);
      const after = { ...row, version, opened_at };
      const shown: Record<string, unknown> = toThread(after);
      const [wrong] = Object.entries(thread).find(([name, value]) => !isDeepStrictEqual(value, shown[name])) ?? [];
      if (wrong !== undefined && !isNewer)
        throw faultOf(file, number, `the events of the thread ${thread_id} do not lead to its ${wrong}`);
      return [{ before: row, after, posts: [] }];
    });
    await threads.restore(tx, changes);
  }

  /** @param lines of one type */
  async function importSome(tx: Tx, file: string, head: Head, lines: Numbered[]): Promise<void> {
    const of = <T extends Numbered['type']>(type: T) => lines.filter((line): line is Of<T> => line.type === type);
    const [agents, viewed, asked] = [of('agent'), of('thread'), of('question')];
    for (const { number, view } of [
      ...agents.map(({ number, agent: view }) => ({ number, view })),
      ...viewed.map(({ number, thread: view }) => ({ number, view })),
      ...asked.map(({ number, question: view }) => ({ number, view })),
    ]) {
      if (view.run_id !== head.run_id) throw faultOf(file, number, `it is one of the run ${view.run_id}`);
    }
    if (agents.length > 0) await importAgents(tx, head, agents);
    if (viewed.length > 0) await importThreads(tx, file, head, viewed);
    if (asked.length > 0) await importQuestions(tx, asked);
  }

  /** Reads the lines up to the first event. */
  return async (tx: Tx, file: string, lines: AsyncIterable<Numbered>, head: Head): Promise<void> => {
    let waiting: Numbered[] = [];
    for await (const line of lines) {
      if (line.type === 'event' || line.type === 'end') break;
      if (waiting.length === BATCH) {
        await importSome(tx, file, head, waiting);
        waiting = [];
      }
      waiting.push(line);
    }
    await importSome(tx, file, head, waiting);
  };
}
