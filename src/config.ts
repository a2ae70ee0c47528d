import { Ajv, type ErrorObject } from 'ajv';
import { type Static, Type } from 'typebox';
import { sqliteFile } from './db/url.ts';
import { StartError } from './errors.ts';
import { readNetworks } from './networks.ts';
import { cut } from './text.ts';
import { validationFault } from './validation-fault.ts';

const ConfigSchema = Type.Object({
  HOST: Type.String({ default: '127.0.0.1', description: 'Address to listen on.' }),
  PORT: Type.Integer({
    default: 4010,
    minimum: 0,
    maximum: 65535,
    description: 'Port to listen on; `0` picks a free port and logs it.',
  }),
  DATABASE_URL: Type.String({
    default: 'sqlite:./data/forumbus.db',
    pattern: '^(sqlite:.+|postgres(ql)?://.+)$',
    description: '`sqlite:<file>` or `postgres://user:password@host:port/database`.',
  }),
  HANDLERS_DIR: Type.String({
    default: '',
    description: 'Folder of topic handlers: each `.ts`, `.js` and `.mjs` file in it is loaded.',
  }),
  ADMIN_TOKEN_FILE: Type.String({
    default: '',
    description:
      'File with a token that the start registers as an admin token (`npm run token -- generate` prints one).',
  }),
  PUBLIC_URL: Type.String({
    default: '',
    pattern: '^(https?://[^\\s?#]+)?$',
    description:
      'Address at which people reach the service, such as `https://forumbus.example.org`. Answer links begin with it and single sign-on leads back to it; both need it.',
  }),
  BASE_PATH: Type.String({
    default: '/',
    pattern: '^/([\\w~-][\\w.~-]*(/[\\w~-][\\w.~-]*)*/?)?$',
    description:
      'Path below which the service answers, such as `/forumbus`: that of a proxy that passes paths on as they are.',
  }),
  TRUST_PROXY: Type.String({
    default: '',
    description:
      'Networks of proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` count, separated by commas: `127.0.0.1,10.1.0.0/16`.',
  }),
  OIDC_ISSUER: Type.String({
    default: '',
    description:
      'Issuer of the OpenID provider by which people log in to the page, such as `https://login.example.org/realms/team`.',
  }),
  OIDC_CLIENT_ID: Type.String({ default: '', description: 'What the provider calls this service.' }),
  OIDC_CLIENT_SECRET: Type.String({
    default: '',
    description: 'Secret of this service at the provider; without one it is a public client.',
  }),
  OIDC_ADMINS: Type.String({
    default: '',
    description:
      'People who get the role admin, separated by commas: groups, addresses (`ana@example.org`) and domains (`@example.org`).',
  }),
  OIDC_OPERATORS: Type.String({ default: '', description: 'In the same form, people who get the role operator.' }),
  OIDC_VIEWERS: Type.String({ default: '', description: 'In the same form, people who get the role viewer.' }),
  CORS_ORIGINS: Type.String({
    default: '',
    pattern: '^(https?://[^/,\\s]+(,https?://[^/,\\s]+)*)?$',
    description:
      'Origins whose web pages may call the service, such as `https://app.example.org`, separated by commas.',
  }),
  SELF_VALIDATION: Type.Enum(['allow', 'forbid'], {
    default: 'allow',
    description: 'Whether an agent may validate its own work.',
  }),
  OPEN_QUESTIONS_PER_AGENT: Type.Integer({
    default: 100,
    minimum: 1,
    maximum: 10_000,
    description: 'Questions that an agent may have open at once.',
  }),
  MIN_DEFAULT_SECONDS: Type.Integer({
    default: 60,
    minimum: 1,
    maximum: 31_536_000,
    description: 'Shortest `expires_in_seconds` of a question with a default.',
  }),
  STREAMS_PER_CALLER: Type.Integer({
    default: 100,
    minimum: 1,
    maximum: 100_000,
    description: 'Open event streams allowed per token, or per address while the service has no tokens.',
  }),
  WAITS_PER_CALLER: Type.Integer({
    default: 1000,
    minimum: 1,
    maximum: 100_000,
    description: 'Waiting requests allowed per token, or per address while the service has no tokens.',
  }),
  RATE_LIMIT_PER_MINUTE: Type.Integer({
    default: 6000,
    minimum: 0,
    maximum: 10_000_000,
    description: 'Requests allowed per token and minute; `0` sets no limit.',
  }),
  WEBHOOK_ALLOW_CIDRS: Type.String({
    default: '',
    description:
      'Networks that webhooks may reach although they are private, also by http, separated by commas: `127.0.0.0/8,10.1.0.0/16`.',
  }),
  MAX_PAYLOAD_BYTES: Type.Integer({
    default: 1_048_576,
    minimum: 1024,
    maximum: 16_777_216,
    description: 'Largest body of `POST /outbox`.',
  }),
  MAX_EVENT_LOOP_DELAY_MS: Type.Integer({
    default: 1000,
    minimum: 0,
    maximum: 60_000,
    description: 'Average event loop delay above which requests are refused with 503; `0` never refuses.',
  }),
  ROLE: Type.Enum(['all', 'http', 'worker'], {
    default: 'all',
    description: '`http` dispatches no messages; `worker` serves health and metrics only; `all` does everything.',
  }),
  POLL_INTERVAL_MS: Type.Integer({
    default: 500,
    minimum: 10,
    maximum: 60_000,
    description: 'How often the worker polls for due messages when nothing wakes it.',
  }),
  LEASE_MS: Type.Integer({
    default: 30_000,
    minimum: 300,
    maximum: 3_600_000,
    description: 'How long a claimed message stays leased unless its worker renews the lease.',
  }),
  MAX_ATTEMPTS: Type.Integer({
    default: 12,
    minimum: 1,
    maximum: 1000,
    description: 'Attempts after which a message is dead.',
  }),
  WORKER_CONCURRENCY: Type.Integer({
    default: 16,
    minimum: 1,
    maximum: 1000,
    description: 'Handlers that run concurrently.',
  }),
  BACKOFF_BASE_MS: Type.Integer({
    default: 1000,
    minimum: 1,
    maximum: 3_600_000,
    description: 'Delay before the first retry; it doubles with each attempt.',
  }),
  BACKOFF_CAP_MS: Type.Integer({
    default: 900_000,
    minimum: 1,
    maximum: 86_400_000,
    description: 'Longest delay before a retry.',
  }),
  OUTBOX_RETENTION_HOURS: Type.Integer({
    default: 168,
    minimum: 0,
    maximum: 87_600,
    description: 'How long sent and discarded messages are kept; `0` keeps them forever.',
  }),
  AUDIT_RETENTION_DAYS: Type.Integer({
    default: 400,
    minimum: 0,
    maximum: 36_500,
    description: 'How long entries of the audit trail are kept; `0` keeps them forever.',
  }),
  EVENT_RETENTION_DAYS: Type.Integer({
    default: 0,
    minimum: 0,
    maximum: 36_500,
    description: 'Days after its close at which the texts of a run are erased; `0` keeps them forever.',
  }),
  SHUTDOWN_GRACE_MS: Type.Integer({
    default: 10_000,
    minimum: 0,
    maximum: 600_000,
    description: 'How long a shutdown waits for running requests and handlers.',
  }),
  LOG_LEVEL: Type.Enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'], {
    default: 'info',
    description: 'Lowest level that is logged.',
  }),
});

/** The settings of one process, read once. A name ends with the unit of its value. */
export type Config = Readonly<Static<typeof ConfigSchema>>;

/** Name, default and description of each setting, in the order of the table in docs/configuration.md. */
export const settings = Object.entries(ConfigSchema.properties).map(([name, schema]) => {
  const { default: fallback, description } = schema as { default?: unknown; description?: string };
  return { name, default: String(fallback ?? ''), description: description ?? '' };
});

/**
 * Reads the settings from environment variables.
 * @throws StartError that names the first invalid variable
 */
export function readConfig(environment: Record<string, string | undefined>): Config {
  const given = Object.fromEntries(
    // A blank variable counts as unset: compose files and shells produce it for an absent value.
    settings.flatMap(({ name }) => (environment[name]?.trim() ? [[name, environment[name]]] : [])),
  );
  const read = validated(given);
  sqliteFile(read.DATABASE_URL);
  assertUrls('PUBLIC_URL', read.PUBLIC_URL === '' ? [] : [read.PUBLIC_URL]);
  assertUrls('CORS_ORIGINS', listOf(read.CORS_ORIGINS));
  for (const name of ['TRUST_PROXY', 'WEBHOOK_ALLOW_CIDRS'] as const) readNetworks(name, read[name]);
  assertSingleSignOn(read);
  return Object.freeze(read);
}

/** Converts texts to the types of the settings, and adds the defaults of those that are missing. */
function validated(given: Record<string, unknown>): Config {
  const ajv = new Ajv({ coerceTypes: true, useDefaults: true, validateSchema: false, verbose: true });
  if (ajv.validate<Config>(ConfigSchema, given)) return given;
  const [error] = ajv.errors as [ErrorObject];
  const { pointer, detail } = validationFault(error);
  // Addresses, which have patterns, may have passwords in them.
  const value = error.keyword === 'pattern' ? '' : `, not ${cut(String(error.data), 100)}`;
  throw new StartError(`The setting ${pointer.slice(1)} is wrong: it ${detail.replace(/\.$/, '')}${value}.`);
}

/** @throws StartError if one of a setting's URLs is none, although it looks like one */
function assertUrls(name: string, urls: string[]): void {
  const wrong = urls.find(part => !URL.canParse(part));
  if (wrong !== undefined) throw new StartError(`The setting ${name} is wrong: ${wrong} is no URL.`);
}

/** What the command line, its hooks and clients read; the service does not. */
const CLIENT_SETTINGS = [
  ...['FORUMBUS_URL', 'FORUMBUS_TOKEN', 'FORUMBUS_TOKEN_FILE', 'FORUMBUS_RUN', 'FORUMBUS_AGENT'],
  ...['FORUMBUS_HEADLESS', 'FORUMBUS_PARK', 'FORUMBUS_AWAY', 'FORUMBUS_EXPIRES'],
];
/** Names of variables up to this length resemble each other by chance; only their letters' case and order count. */
const SHORT_NAME = 6;

/** A sentence for each variable that looks like a setting and is none: a misspelt one would be ignored in silence. */
export function misspelt(environment: Record<string, string | undefined>): string[] {
  const names = settings.map(({ name }) => name);
  const unknown = Object.keys(environment).filter(name => !names.includes(name) && !CLIENT_SETTINGS.includes(name));
  return unknown.flatMap(name => {
    const bare = name.toUpperCase().replace(/^FORUMBUS_/, '');
    const meant = names.find(known => isNearMiss(bare, known));
    if (meant) return [`The variable ${name} is no setting; ${meant} is.`];
    return name.startsWith('FORUMBUS_') ? [`The variable ${name} is no setting.`] : [];
  });
}

function isNearMiss(name: string, known: string): boolean {
  // Each letter more is a change: this spares a start most of the comparisons.
  if (Math.abs(name.length - known.length) > 2) return false;
  if (known.length > SHORT_NAME) return editDistance(name, known) <= 2;
  return name === known || (editDistance(name, known) === 1 && [...name].sort().join() === [...known].sort().join());
}

/** Letters to put in, leave out, replace, or exchange with their neighbour (optimal string alignment). */
function editDistance(a: string, b: string): number {
  const rows = [Array.from({ length: b.length + 1 }, (_, index) => index)];
  for (let i = 1; i <= a.length; i += 1) {
    const row = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const at = (up: number, left: number) => (up === 0 ? row : (rows[i - up] as number[]))[j - left] as number;
      const replaced = at(1, 1) + (a[i - 1] === b[j - 1] ? 0 : 1);
      const isExchange = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      row.push(Math.min(at(1, 0) + 1, at(0, 1) + 1, replaced, isExchange ? at(2, 2) + 1 : Infinity));
    }
    rows.push(row);
  }
  return rows[a.length]?.[b.length] as number;
}

/** Whether a host is a loopback address (RFC 1122, 3.2.1.3; RFC 4291, 2.5.3) or `localhost`. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}

/** Settings that mean nothing without OIDC_ISSUER. */
const OF_OIDC = ['OIDC_CLIENT_ID', 'OIDC_CLIENT_SECRET', 'OIDC_ADMINS', 'OIDC_OPERATORS', 'OIDC_VIEWERS'] as const;
/** Issuers of Microsoft Entra ID that stand for the people of all tenants. */
const ALL_TENANTS = /^\/(common|organizations|consumers)(\/|$)/;

/** @throws StartError if the settings of single sign-on do not fit together */
function assertSingleSignOn(config: Config): void {
  const { OIDC_ISSUER, OIDC_CLIENT_ID, OIDC_ADMINS, OIDC_OPERATORS, OIDC_VIEWERS, PUBLIC_URL } = config;
  if (OIDC_ISSUER === '') {
    const stray = OF_OIDC.find(name => config[name] !== '');
    if (stray) throw new StartError(`The setting ${stray} needs OIDC_ISSUER.`);
    return;
  }
  if (!isSafeUrl(OIDC_ISSUER) || /[?#]/.test(OIDC_ISSUER)) {
    throw new StartError('The setting OIDC_ISSUER is wrong: it must be an https URL, or http on this machine.');
  }
  const { hostname, pathname } = new URL(OIDC_ISSUER);
  if (/^login\.(microsoftonline|partner\.microsoftonline)\./.test(hostname) && ALL_TENANTS.test(pathname)) {
    throw new StartError(
      `The setting OIDC_ISSUER needs the issuer of your own tenant, such as https://${hostname}/<tenant id>/v2.0: this one lets in the people of all tenants.`,
    );
  }
  if (OIDC_CLIENT_ID === '') throw new StartError('The setting OIDC_ISSUER needs OIDC_CLIENT_ID.');
  if (listOf(`${OIDC_ADMINS},${OIDC_OPERATORS},${OIDC_VIEWERS}`).length === 0) {
    throw new StartError(
      'The setting OIDC_ISSUER needs OIDC_ADMINS, OIDC_OPERATORS or OIDC_VIEWERS, or nobody could log in.',
    );
  }
  if (!isSafeUrl(PUBLIC_URL)) {
    throw new StartError(
      'The setting OIDC_ISSUER needs PUBLIC_URL, an https URL or http on this machine: the provider sends people back there.',
    );
  }
}

/** Whether a URL can carry secrets: by https, or on this machine. */
function isSafeUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, hostname, username, password } = new URL(text);
  if (username !== '' || password !== '') return false;
  return protocol === 'https:' || (protocol === 'http:' && isLoopback(hostname.replace(/^\[(.*)\]$/, '$1')));
}

/** The parts of a setting that commas separate. */
export function listOf(setting: string): string[] {
  return setting
    .split(',')
    .map(part => part.trim())
    .filter(part => part !== '');
}

/** What stands before each path of the service: empty, or such as `/forumbus`. */
export function basePathOf({ BASE_PATH }: Pick<Config, 'BASE_PATH'>): string {
  return BASE_PATH.replace(/\/$/, '');
}

/** The settings for the log: the password in `DATABASE_URL` and the secret of single sign-on are masked. */
export function maskedConfig(config: Config): Config {
  const OIDC_CLIENT_SECRET = config.OIDC_CLIENT_SECRET && '***';
  return { ...config, DATABASE_URL: maskedUrl(config.DATABASE_URL), OIDC_CLIENT_SECRET };
}

/**
 * A database URL with `***` in place of its password, and of all its parameters: a password may be one, under a name that is
 * percent-encoded.
 */
export function maskedUrl(url: string): string {
  return url.replace(/^(postgres(?:ql)?:\/\/[^:]*):.*@/s, '$1:***@').replace(/([?&][^=&]*)=[^&]*/g, '$1=***');
}
