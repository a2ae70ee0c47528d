import type { TokenParts } from '../access/secret.ts';
import { newUid, systemClock } from '../clock.ts';
import { CommitNotifier } from '../commit-notifier.ts';
import { type Config, maskedUrl, misspelt, readConfig } from '../config.ts';
import type { ReadOnlyDatabase } from '../db/database.ts';
import { openReadOnly } from '../db/open.ts';
import { sqliteFile } from '../db/url.ts';
import { textOf } from '../error-text.ts';
import { StartError } from '../errors.ts';
import { createEvents } from '../events/service.ts';
import { callOf } from '../invocation.ts';
import type { Logger } from '../logging.ts';
import { createOutboxMonitor } from '../outbox/monitor.ts';
import { assertDistinct, createSubscriptionViews } from '../subscriptions/service.ts';
import { strayPatterns } from '../topics/stray-patterns.ts';
import { defaultPolicy } from '../worker/handler.ts';
import { loadHandlers } from '../worker/load-handlers.ts';
import { checkAddress } from './address.ts';
import { checkDatabaseFile, checkServer, checkSqlite } from './engine.ts';
import { type Finding, ok, problem, warning } from './finding.ts';
import { checkMessages } from './messages.ts';
import { checkSingleSignOn } from './single-sign-on.ts';
import { checkAdminFile, checkTokens } from './tokens.ts';

/**
 * Checks everything that a start checks, and the backlog of messages. It runs beside the service and changes nothing.
 * It does load the handlers' modules, whose top-level code runs.
 * @param environment environment variables with the settings
 */
export async function diagnose(environment: Record<string, string | undefined>, log: Logger): Promise<Finding[]> {
  let config: Config;
  try {
    config = readConfig(environment);
  } catch (error) {
    return [failed('settings', error, 'Correct it; docs/configuration.md lists all settings.')];
  }
  const settings = ok('settings', `DATABASE_URL is ${maskedUrl(config.DATABASE_URL)}, ROLE is ${config.ROLE}.`);
  const names = misspelt(environment).map(sentence => warning('settings', sentence, 'Correct its name, or unset it.'));
  const admin = await checkAdminFile(config);
  const findings = [
    ...[await checkAddress(config), await checkHandlers(config), await checkSingleSignOn(config), admin.findings],
    await checkDatabase(config, admin.parts, log),
  ];
  return [settings, ...names, ...findings.flat()];
}

async function checkHandlers(config: Config): Promise<Finding[]> {
  if (!config.HANDLERS_DIR)
    return [ok('handlers', 'HANDLERS_DIR is not set: the service has only its built-in handlers.')];
  try {
    const handlers = await loadHandlers(config.HANDLERS_DIR, defaultPolicy(config));
    assertDistinct(handlers);
    const names = handlers.length > 0 ? ` (${handlers.map(({ name }) => name).join(', ')})` : '';
    const strays = strayPatterns(handlers).map(({ handler, pattern, nearest }) =>
      warning(
        'handlers',
        `No message matches ${pattern} of ${handler}.`,
        `Correct it: the nearest topic is ${nearest}.`,
      ),
    );
    return [ok('handlers', `${handlers.length} loaded from ${config.HANDLERS_DIR}${names}.`), ...strays];
  } catch (error) {
    return [failed('handlers', error, 'Correct it: until then the service does not start.')];
  }
}

async function checkDatabase(config: Config, admin: TokenParts | undefined, log: Logger): Promise<Finding[]> {
  const file = sqliteFile(config.DATABASE_URL);
  const fault = file === undefined ? undefined : checkDatabaseFile(file);
  if (fault) return [fault];
  let db: ReadOnlyDatabase;
  try {
    db = await openReadOnly(config.DATABASE_URL, log);
  } catch (error) {
    return [failed('database', error, 'Correct DATABASE_URL, or make the database reachable.')];
  }
  const findings: Finding[] = [];
  try {
    findings.push(...(file === undefined ? [await checkServer(db)] : await checkSqlite(db, file)));
    if (findings.some(({ check, level }) => check === 'integrity' && level !== 'ok')) return findings;
    const schema = await checkSchema(db);
    findings.push(schema);
    // The remaining checks read tables that an older schema may lack.
    if (schema.level !== 'ok') return findings;
    const events = createEvents({ db, clock: systemClock, newUid, commits: new CommitNotifier() });
    const monitor = createOutboxMonitor({ db, clock: systemClock, events, subscriptions: createSubscriptionViews() });
    findings.push(...(await checkMessages(monitor, config)), ...(await checkTokens(db, config, admin, Date.now())));
  } catch (error) {
    findings.push(
      failed(
        'database',
        error,
        'A check could not read the database: check its disk or server, and run the doctor again.',
      ),
    );
  } finally {
    await db.close();
  }
  return findings;
}

async function checkSchema(db: ReadOnlyDatabase): Promise<Finding> {
  const unknown = await db.unknownMigrations();
  if (unknown.length > 0) {
    const finding = `The schema is newer than this version of Forumbus (it has ${unknown.join(', ')}).`;
    return problem('schema', finding, 'Run that newer version, or restore a backup of this one.');
  }
  const missing = await db.missingMigrations();
  if (missing.length === 0) return ok('schema', 'The schema is up to date.');
  return problem(
    'schema',
    `Migrations are missing: ${missing.join(', ')}.`,
    `Run ${callOf('migrate')}, or start the service.`,
  );
}

function failed(check: string, error: unknown, advice: string): Finding {
  if (error instanceof StartError) return problem(check, error.message, advice);
  return problem(check, `${textOf(error)}.`, advice);
}
