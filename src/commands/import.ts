import { resolve } from 'node:path';
import { newUid, systemClock } from '../clock.ts';
import { CommitNotifier } from '../commit-notifier.ts';
import { createControl } from '../control/service.ts';
import type { Database } from '../db/database.ts';
import { openDatabase } from '../db/open.ts';
import { StartError } from '../errors.ts';
import { createEvents } from '../events/service.ts';
import { createInbox, type Inbox } from '../inbox/service.ts';
import { callOf } from '../invocation.ts';
import { createImport } from '../lifecycle/import.ts';
import { progressOn } from '../progress.ts';
import { createQuestions, type QuestionService } from '../questions/service.ts';
import { createRuns } from '../runs/service.ts';
import { createSearch } from '../search/service.ts';
import { createSubscriptions } from '../subscriptions/service.ts';
import { createSeen } from '../threads/seen.ts';
import { createThreads } from '../threads/service.ts';
import { answerHelp, readArguments, runCommand, withResource } from './command.ts';

/* `npm run import`: brings exported runs into an empty database while no service runs. */

const USAGE = callOf('import', 'FILE…');

await answerHelp(
  USAGE,
  'Brings exported runs (NDJSON, also as .gz) into an empty database. The service must be stopped. Ctrl-C leaves it empty.',
);
await runCommand('The import failed.', async ({ config, log }) => {
  const { positionals } = readArguments(USAGE, { least: 1 }, {});
  const files = positionals.map(file => resolve(file));
  const started = performance.now();
  const drawn = progressOn(process.stderr);
  const interrupted = new AbortController();
  const interrupt = () =>
    interrupted.abort(new StartError('The import was interrupted; the database is as empty as it was.'));
  process.once('SIGINT', interrupt);
  process.once('SIGTERM', interrupt);
  try {
    const imported = await withResource(openDatabase(config.DATABASE_URL, log), async db => {
      await db.migrate();
      return importInto(db)(files, {
        signal: interrupted.signal,
        progress: (done, lines) => drawn.show(() => `${Math.floor(done * 100)} % done, ${lines} lines read`),
      });
    });
    drawn.end();
    log.info({ files, ...imported, duration_ms: Math.round(performance.now() - started) }, 'imported');
  } finally {
    drawn.end();
  }
});

/** Connects the services whose rows an import makes. None of them acts otherwise. */
function importInto(db: Database) {
  const [clock, commits, basePath] = [systemClock, new CommitNotifier(), ''];
  const events = createEvents({ db, clock, newUid, commits });
  const search = createSearch({ db });
  const withdrawQuestions: QuestionService['withdraw'] = (...withdrawal) => questions.withdraw(...withdrawal);
  const notifyAgent: Inbox['record'] = (...act) => inbox.record(...act);
  const threads = createThreads({
    ...{ db, clock, newUid, events, search, seen: createSeen() },
    ...{ notifyAgent, withdrawQuestions },
  });
  const control = createControl({ db, clock, events, threads, basePath });
  const questions: QuestionService = createQuestions({
    ...{ db, clock, events, control, threads, search },
    ...{ openPerAgent: 0, minDefaultSeconds: 0, ended() {} },
  });
  const inbox: Inbox = createInbox({ db, events, control, questions });
  const runs = createRuns({ db, events, threads, control, questions, basePath });
  const subscriptions = createSubscriptions({ db, clock, events, commits, process: 'import' });
  return createImport({ db, events, search, threads, control, questions, inbox, runs, subscriptions });
}
