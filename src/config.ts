import { envSchema } from 'env-schema';
import { type Static, Type } from 'typebox';
import { StartError } from './errors.ts';

const ConfigSchema = Type.Object({
  HOST: Type.String({ default: '127.0.0.1', description: 'Address to listen on.' }),
  PORT: Type.Integer({
    default: 4010,
    minimum: 0,
    maximum: 65535,
    description: 'Port to listen on; 0 picks a free one and logs it.',
  }),
  DATABASE_URL: Type.String({
    default: 'sqlite:./data/forumbus.db',
    pattern: '^(sqlite:.+|postgres(ql)?://.+)$',
    description: '`sqlite:<file>` or `postgres://user:password@host:port/database`.',
  }),
  HANDLERS_DIR: Type.String({
    default: '',
    description: 'Folder whose `.ts`, `.js` and `.mjs` files are loaded as topic handlers.',
  }),
  ADMIN_TOKEN_FILE: Type.String({
    default: '',
    description: "File with a token that becomes an admin's at the start (`npm run token -- generate` prints one).",
  }),
  CORS_ORIGINS: Type.String({
    default: '',
    pattern: '^(https?://[^/,\\s]+(,https?://[^/,\\s]+)*)?$',
    description: 'Origins whose web pages may use the service, with commas between them.',
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
    description: 'Event streams that a token (without tokens: an address) may have open at once.',
  }),
  WAITS_PER_CALLER: Type.Integer({
    default: 1000,
    minimum: 1,
    maximum: 100_000,
    description: 'Waiting requests that a token (without tokens: an address) may have at once.',
  }),
  RATE_LIMIT_PER_MINUTE: Type.Integer({
    default: 6000,
    minimum: 0,
    maximum: 10_000_000,
    description: 'Requests that a token may make in a minute; 0 for any number.',
  }),
  MAX_EVENT_LOOP_DELAY_MS: Type.Integer({
    default: 1000,
    minimum: 0,
    maximum: 60_000,
    description: 'How late the process may be on average before it refuses requests with 503; 0 never refuses.',
  }),
  ROLE: Type.Enum(['all', 'http', 'worker'], {
    default: 'all',
    description: '`http` does not dispatch; `worker` serves health and metrics only.',
  }),
  POLL_INTERVAL_MS: Type.Integer({
    default: 500,
    minimum: 10,
    maximum: 60_000,
    description: 'How often the worker looks for due messages without being woken.',
  }),
  LEASE_MS: Type.Integer({
    default: 30_000,
    minimum: 300,
    maximum: 3_600_000,
    description: 'How long a claim holds unless it is renewed.',
  }),
  MAX_ATTEMPTS: Type.Integer({
    default: 12,
    minimum: 1,
    maximum: 1000,
    description: 'Attempts before a message is dead.',
  }),
  WORKER_CONCURRENCY: Type.Integer({
    default: 16,
    minimum: 1,
    maximum: 1000,
    description: 'Handlers that run at once.',
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
    description: 'How long sent and discarded messages are kept; 0 keeps them.',
  }),
  SHUTDOWN_GRACE_MS: Type.Integer({
    default: 10_000,
    minimum: 0,
    maximum: 600_000,
    description: 'How long a shutdown waits for requests and handlers.',
  }),
  LOG_LEVEL: Type.Enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'], {
    default: 'info',
    description: 'Lowest level that is logged.',
  }),
});

/** The settings of one process, read once. Durations are milliseconds. */
export type Config = Readonly<Static<typeof ConfigSchema>>;

/** Name, default and meaning of each setting, in the order of the README's table. */
export const settings = Object.entries(ConfigSchema.properties).map(([name, schema]) => {
  const { default: fallback, description } = schema as { default?: unknown; description?: string };
  return { name, default: String(fallback ?? ''), description: description ?? '' };
});

/**
 * Reads the settings from environment variables.
 * @throws StartError whose sentence names the variable that is wrong.
 */
export function readConfig(environment: Record<string, string | undefined>): Config {
  const known = Object.fromEntries(
    // An empty variable means "not set": compose files and shells produce them for absent values.
    settings.flatMap(({ name }) => (environment[name] ? [[name, environment[name]]] : [])),
  );
  try {
    return Object.freeze(envSchema<Static<typeof ConfigSchema>>({ schema: ConfigSchema, data: known, env: false }));
  } catch (error) {
    const { instancePath = '', message = String(error), params } = (error as { errors?: EnvError[] }).errors?.[0] ?? {};
    const allowed = params?.allowedValues ? ` (${params.allowedValues.join(', ')})` : '';
    throw new StartError(`The setting ${instancePath.slice(1)} is wrong: it ${message}${allowed}.`);
  }
}

interface EnvError {
  instancePath?: string;
  message?: string;
  params?: { allowedValues?: string[] };
}

/** Whether only this machine reaches an address (RFC 1122, 3.2.1.3; RFC 4291, 2.5.3). */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}

/** The settings as they may be logged: a password in `DATABASE_URL` is masked. */
export function maskedConfig(config: Config): Config {
  return { ...config, DATABASE_URL: maskedUrl(config.DATABASE_URL) };
}

export function maskedUrl(url: string): string {
  return url.replace(/^(postgres(?:ql)?:\/\/[^:@/]*):.*@/, '$1:***@').replace(/([?&]password=)[^&]*/, '$1***');
}
