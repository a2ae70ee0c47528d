import { type AskOptions, ForumbusError, isPassing, type Question, type SignalResult } from '../client/index.ts';
import type { Context } from './command.ts';
import { faultText } from './fault-text.ts';
import { head } from './output.ts';
import { refusalText } from './refusals.ts';
import type { Spooled } from './spool.ts';
import { unreachableRemedy } from './unreachable.ts';

/** The service cannot answer. `message` is one sentence with the remedy. */
export class Unreachable extends Error {
  override readonly name = 'Unreachable';
}

type Asked = Extract<Spooled, { act: 'ask' }>;
/** Gets the request as it is about to be sent: its repeat must have the same key. */
type Settle = (spooled: Spooled) => void;

/**
 * Sends the requests that wait in the spool, in order. A refused one is dropped with a line on stderr.
 * @throws ForumbusError if the service does not answer, or refuses the token
 */
export async function drain(context: Context): Promise<void> {
  const { spool, identity, tell } = context;
  const others = spool.countOfOtherTokens(identity);
  if (others > 0) {
    const { run_id, agent_name } = identity;
    tell(`Not sent (${others}): requests of ${agent_name} in ${run_id} that wait for another token in ${spool.path}.`);
  }
  for (const { name, spooled } of spool.list(identity)) {
    try {
      const settle = (settled: Spooled) => spool.replace(identity, name, settled);
      if (spooled.act === 'ask') await ask(context, spooled, settle, { wait_seconds: 0 });
      else await sendReport(context, spooled);
      spool.remove(name);
    } catch (error) {
      if (!(error instanceof ForumbusError) || isFailure(error)) {
        // It waits on: what is asked for now does not need it.
        const why = error instanceof ForumbusError ? head(refusalText(error), 300) : faultText(error);
        tell(`A request that had to wait (${spooled.act}) is not sent: ${why}`);
        return;
      }
      if (!isFinal(error)) throw error;
      tell(`A request that had to wait (${spooled.act}) is dropped: ${head(refusalText(error), 300)}`);
      spool.remove(name);
    }
  }
}

/** Whether Forumbus itself fails at a request, as it may do at no other one. */
function isFailure(error: ForumbusError): boolean {
  return error.problem !== undefined && error.status >= 500 && !isPassing(error);
}

/** Whether Forumbus itself refuses a request, and would do so again. */
function isFinal(error: ForumbusError): boolean {
  return error.problem !== undefined && error.status < 500 && error.status !== 401 && !isPassing(error);
}

/** Asks after all that waits. @throws Unreachable if the question is kept for the next call */
export function askInOrder(context: Context, asked: Asked, options: AskOptions): Promise<Question> {
  return inOrder(context, asked, settle => ask(context, asked, settle, options));
}

/**
 * Sends a report after all that waits. A command that is repeated because no service has answered is the same report.
 * @throws Unreachable if the report is kept for the next call
 */
export function reportInOrder(context: Context, given: Report): Promise<SignalResult | undefined> {
  const { spool, identity } = context;
  const report = spool.repeated(identity, given) ?? given;
  return inOrder(context, report, () => sendReport(context, report));
}

async function inOrder<T>(context: Context, first: Spooled, work: (settle: Settle) => Promise<T>): Promise<T> {
  let spooled = first;
  try {
    await drain(context);
    return await work(settled => {
      spooled = settled;
    });
  } catch (error) {
    if (!(error instanceof ForumbusError) || !isPassing(error)) throw error;
    throw new Unreachable(`${error.message} ${kept(context, spooled)} ${unreachableRemedy(context.env)}`);
  }
}

/** Keeps a request for the next call, and says whether it could. */
function kept({ spool, identity }: Context, spooled: Spooled): string {
  try {
    if (spool.add(identity, spooled)) return 'The next call sends this request.';
    return 'Too many requests wait already, so this one is lost.';
  } catch (error) {
    // A sandbox may keep commands from the folder.
    return `This request is lost, since the state folder cannot be written (${(error as NodeJS.ErrnoException).code ?? 'there is no home folder'}).`;
  }
}

async function ask({ connect }: Context, first: Asked, settle: Settle, options: AskOptions): Promise<Question> {
  const client = connect(first);
  const { attempt: known, ...rest } = first.request;
  const current = async () => (await client.status())?.attempt ?? 1;
  let attempt = known ?? (await current());
  for (let again = false; ; again = true) {
    const request = { ...rest, attempt };
    settle({ ...first, request });
    try {
      return await client.ask(request, { ...options, acknowledge: false });
    } catch (error) {
      // A new attempt has begun, and the question has not arrived in the old one.
      if (again || !(error instanceof ForumbusError) || error.code !== 'STALE_ATTEMPT') throw error;
      attempt = await current();
    }
  }
}

type Report = Exclude<Spooled, { act: 'ask' }>;

async function sendReport({ connect }: Context, report: Report): Promise<SignalResult | undefined> {
  const client = connect(report);
  const { idempotency_key } = report;
  switch (report.act) {
    case 'note':
      await client.note(report.text, { idempotency_key });
      return undefined;
    case 'complete':
      return client.signal.completion(report.request, { idempotency_key });
    case 'validate':
      return client.signal.validation(report.request, { idempotency_key });
  }
}
