import type { LongRequests } from '../access/long-requests.ts';
import type { Clock } from '../clock.ts';
import type { Question } from '../questions/schemas.ts';
import type { QuestionWaiters } from '../questions/waiting.ts';
import type { ThreadService } from '../threads/service.ts';
import { duration } from './texts.ts';
import type { Call } from './tool.ts';

/** How long calls are held. Milliseconds. */
export interface HoldTimes {
  /** With progress. Claude Code moves a call to the background after 120 s. */
  withProgress: number;
  /** Without: some clients end a call after 60 s without a byte. */
  silent: number;
  /** Between two notices of progress. */
  progressEvery: number;
}

export const HOLD_TIMES: HoldTimes = { withProgress: 110_000, silent: 45_000, progressEvery: 10_000 };

interface Dependencies {
  clock: Clock;
  threads: Pick<ThreadService, 'get'>;
  questionWaiters: QuestionWaiters;
  longRequests: LongRequests;
  times: HoldTimes;
}

export type Hold = ReturnType<typeof createHold>;

/** The longest wait that a call may ask for. Seconds. */
export const LONGEST_WAIT = HOLD_TIMES.withProgress / 1000;

/** Holds calls until there is news, and meanwhile tells clients that asked for it who is waited for. */
export function createHold({ clock, threads, questionWaiters, longRequests, times }: Dependencies) {
  /**
   * Runs a wait while it reports progress, at once and then regularly.
   * @param seconds what the caller asks for; never longer than the client stays
   * @param message says who is waited for
   * @throws Refusal TOO_MANY_WAITS, UNAUTHORIZED
   */
  async function whileHeld<T>(
    { request, reply, progress }: Call,
    seconds: number | undefined,
    message: () => string,
    work: (timeoutMs: number, signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const longest = progress ? times.withProgress : times.silent;
    const timeoutMs = Math.min(longest, (seconds ?? LONGEST_WAIT) * 1000);
    let notices = 0;
    // A client that is gone needs no notice.
    const report = () => void progress?.(notices++, message()).catch(() => {});
    return longRequests.wait(request, reply, async signal => {
      const timer = progress && setInterval(report, times.progressEvery);
      report();
      try {
        return await work(timeoutMs, signal);
      } finally {
        clearInterval(timer);
      }
    });
  }

  return {
    whileHeld,

    /** Holds a call until its question has ended. @returns the question as it is then */
    async untilEnded(call: Call, question: Question, seconds: number | undefined): Promise<Question> {
      if (question.state !== 'open' || seconds === 0) return question;
      const { question_id, thread_id, asked_at } = question;
      const { assignee } = call.progress ? await threads.get(thread_id) : { assignee: null };
      const message = () =>
        `Waiting for ${assignee ?? 'a person'} to answer ${question_id}, asked ${duration(clock.now() - Date.parse(asked_at))} ago`;
      return whileHeld(call, seconds, message, (timeoutMs, signal) =>
        questionWaiters.wait(question_id, { isNews: ({ state }) => state !== 'open', timeoutMs, signal }),
      );
    },
  };
}
