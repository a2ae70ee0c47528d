import type { Forumbus } from '../client/index.ts';

/** The event of the doctor: the hook reads the inbox as for any other, and shows nothing of it. */
export const CHECK_EVENT = 'Doctor';

/** The event of a host, as it came: each field is checked where it is read, since hosts differ and change. */
export interface HookInput {
  hook_event_name?: unknown;
  session_id?: unknown;
  [field: string]: unknown;
}

/** What a hook answers. */
export interface Reply {
  /** In the shape of the event; nothing to say if it is missing. */
  output?: object;
  /** To be called once the host has the output: only then has the agent got what stands in it. */
  delivered?: () => Promise<void>;
}

/** What the hooks of one session leave for each other. */
export interface SessionNotes {
  /** The run that the session works in. */
  run_id?: string;
  /** Ids of tool calls by the fingerprint of their input. */
  calls?: Record<string, string>;
  /** How often the end of the turn has been put off in a row. */
  continued?: number;
  /** Items that a doorbell has announced. */
  rung?: string[];
}

export interface Notes {
  read(session: string): SessionNotes;
  write(session: string, notes: SessionNotes): void;
}

/** The questions that a hook waits for at this moment: that hook shows their answers, and no other does. */
export interface Awaited {
  add(question_id: string): void;
  remove(question_id: string): void;
  has(question_id: string): boolean;
}

/** Settings of a person, from the environment of the host. */
interface Switches {
  /** Nobody sits at the host's terminal. */
  headless: boolean;
  /** A headless session ends while its question is open, and is resumed later. */
  park: boolean;
  /** The person is elsewhere, so approvals are asked here instead of in the terminal. */
  away: boolean;
  /** After which time questions of hooks expire. Seconds. */
  expires_in_seconds: number | undefined;
}

/** What a hook works with. */
export interface Station {
  /** The host's name, for `source`. */
  host: string;
  client: Forumbus;
  notes: Notes;
  awaited: Awaited;
  switches: Switches;
  /** Aborts when the host wants no answer any more: the open questions of the hook are then withdrawn. */
  withdrawn: AbortSignal;
  /** Aborts when the hook has to end for another reason: its questions stay open. */
  ending: AbortSignal;
}

/** Translates an event of a host to acts, and their result to the host's answer. */
export type Hook = (input: HookInput, station: Station) => Promise<Reply>;

export function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

/** The fields of an object; none for anything else. */
export function fieldsOf(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : {};
}

/** The session of an event. */
export function sessionOf({ session_id }: HookInput): string {
  return textOf(session_id) ?? 'unknown';
}
