import type { ParseArgsOptionsConfig } from 'node:util';
import { NewToken, type Token, TokenRotation } from '../access/schemas.ts';
import { generateToken } from '../access/secret.ts';
import { type Access, createAccess, ownAdmin } from '../access/service.ts';
import { Actor, parseActor } from '../actor.ts';
import { newUid, systemClock } from '../clock.ts';
import { CommitNotifier } from '../commit-notifier.ts';
import type { Database } from '../db/database.ts';
import { openAlongside } from '../db/open.ts';
import { checkPeople } from '../doctor/tokens.ts';
import { DURATION_RULE, durationSeconds } from '../duration.ts';
import { type ProblemItem, Refusal, StartError } from '../errors.ts';
import { createEvents } from '../events/service.ts';
import { tokenEvents } from '../events/token-events.ts';
import { bodyValidator } from '../http/validation.ts';
import { callOf } from '../invocation.ts';
import { printable } from '../printable.ts';
import { answerHelp, type CommandContext, readArguments, runCommand, withResource } from './command.ts';

/*
 * `npm run token`: creates, lists, rotates and revokes tokens, also while the service runs. A created token is the only output
 * on stdout, so that it can go to a file or a variable.
 */

const USAGE = callOf(
  'token',
  `create --role agent|viewer|operator|admin [--actor operator:<name>]
  [--runs <run or pattern>] [--agents <agent or pattern>] [--validates <agent or pattern>]
  [--expires-in 12h|30d], list, rotate <id> [--overlap 1h], revoke <id>, or generate`,
);

const options = {
  role: { type: 'string' },
  actor: { type: 'string' },
  runs: { type: 'string' },
  agents: { type: 'string' },
  validates: { type: 'string' },
  'expires-in': { type: 'string' },
} satisfies ParseArgsOptionsConfig;

const [name = ''] = process.argv.slice(2);
const commands = new Map(Object.entries({ create, list, rotate, revoke, generate }));

await answerHelp(USAGE, 'Makes, lists, rotates and revokes tokens, also while the service runs.');
await runCommand('The command failed.', async context => {
  const command = commands.get(name);
  if (!command) throw new StartError(`The command is missing or unknown. Usage: ${USAGE}`);
  await command(context);
});

async function create(context: CommandContext): Promise<void> {
  const { values } = readArguments(USAGE, 1, options);
  const { role, actor, runs, agents, validates, 'expires-in': expires } = values;
  const wanted = {
    role,
    ...(actor !== undefined && { actor: parseActor(actor) }),
    ...(runs !== undefined && { runs }),
    ...(agents !== undefined && { agents }),
    ...(validates !== undefined && { validates }),
    ...(expires !== undefined && { expires_in_seconds: secondsOf('--expires-in', expires) }),
  };
  const [fault] = bodyValidator([Actor])(NewToken)(wanted);
  if (fault) throw new StartError(sentence(fault));
  await withTokens(context, async (access, db) => {
    const { token } = await db.write(tx => access.issue(tx, wanted as NewToken, ownAdmin('command')));
    print(token);
    // The first start registers the admin of the file.
    if (context.config.ADMIN_TOKEN_FILE !== '') return;
    const warnings = await checkPeople(db.read, context.config, Date.now());
    for (const { finding, advice } of warnings) process.stderr.write(`${finding} ${advice}\n`);
  });
}

async function list(context: CommandContext): Promise<void> {
  readArguments(USAGE, 1, {});
  await withTokens(context, async access => {
    let cursor: string | null | undefined;
    do {
      const page = await access.list({ limit: 200, ...(cursor && { cursor }) });
      for (const token of page.items) print(lineOf(token));
      cursor = page.next_cursor;
    } while (cursor !== null);
  });
}

/** Prints the token with its new secret. */
async function rotate(context: CommandContext): Promise<void> {
  const { positionals, values } = readArguments(USAGE, 2, { overlap: { type: 'string' } });
  const rotation = values.overlap === undefined ? {} : { overlap_seconds: secondsOf('--overlap', values.overlap) };
  const [fault] = bodyValidator([])(TokenRotation)(rotation);
  if (fault) throw new StartError(sentence(fault));
  await withTokens(context, async (access, db) => {
    const [, tokenId = ''] = positionals;
    const { token } = await db.write(tx => access.rotate(tx, tokenId, rotation, ownAdmin('command')));
    print(token);
  });
}

async function revoke(context: CommandContext): Promise<void> {
  const { positionals } = readArguments(USAGE, 2, {});
  await withTokens(context, async (access, db) => {
    const token = await db.write(tx => access.revoke(tx, positionals[1] as string, ownAdmin('command')));
    print(lineOf(token));
  });
}

/** Prints a new token without storing it, for ADMIN_TOKEN_FILE. */
async function generate(): Promise<void> {
  readArguments(USAGE, 1, {});
  print(generateToken().token);
}

async function withTokens(
  { config, log }: CommandContext,
  work: (access: Access, db: Database) => Promise<void>,
): Promise<void> {
  await withResource(openAlongside(config.DATABASE_URL, log), async db => {
    try {
      await work(accessOf(db), db);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      const [fault] = (error.extensions.errors ?? []) as ProblemItem[];
      throw new StartError(fault ? sentence(fault) : error.message);
    }
  });
}

/** Access as the service has it. Tokens are not used here, only created, rotated and revoked, which appends events to the log. */
function accessOf(db: Database): Access {
  const clock = systemClock;
  const commits = new CommitNotifier();
  const events = createEvents({ db, clock, newUid, commits });
  return createAccess({ db, clock, commits, used: () => {}, record: tokenEvents(events) });
}

/** The error of an option, and the usage line. */
function sentence({ pointer, detail }: ProblemItem): string {
  const [, field = ''] = pointer.split('/');
  const option = { expires_in_seconds: 'expires-in', overlap_seconds: 'overlap' }[field] ?? field;
  return `--${option} ${detail}. Usage: ${USAGE}`;
}

/** The seconds in the value of an option. @throws StartError */
function secondsOf(option: string, text: string): number {
  const seconds = durationSeconds(text);
  if (seconds === undefined) throw new StartError(`${option} ${DURATION_RULE}, not ${text}.`);
  return seconds;
}

function lineOf({ token_id, role, created_at, expires_at, revoked_at, last_used_at, ...token }: Token): string {
  const { actor, runs, agents, validates } = token;
  const bound = `agents ${agents} of runs ${runs}${validates === null ? '' : ` validates ${validates}`}`;
  const person = actor && `${actor.type}:${actor.name}${runs === null ? '' : ` in runs ${runs}`}`;
  const whose = printable(person ?? bound);
  const used = last_used_at === null ? 'never used' : `used ${last_used_at}`;
  const ended = revoked_at ? `revoked ${revoked_at}` : `expires ${expires_at ?? 'never'}`;
  return `${token_id}  ${role.padEnd(8)}  ${whose}  created ${created_at}  ${used}  ${ended}`;
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
