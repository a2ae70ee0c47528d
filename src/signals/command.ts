import type { TSchema } from 'typebox';
import type { Actor } from '../actor.ts';
import type { Evidence } from '../control/schemas.ts';
import type { Asked } from '../questions/question.ts';
import type { AnswerPlace } from '../questions/schemas.ts';

/** Every kind of control signal. */
export const controlTypes = ['guidance_request', 'guidance_answer', 'completion', 'validation'] as const;
export type ControlType = (typeof controlTypes)[number];

interface Envelope {
  /** The schema version in which the signal was sent. */
  schema_version: number;
  run_id: string;
  agent_name: string;
  ticket?: string;
  actor?: Actor;
  correlation_id?: string;
  causation_id?: string;
  attempt?: number;
}

export interface AskCommand extends Envelope, Asked {
  control_type: 'guidance_request';
}

export interface AnswerCommand extends Envelope {
  control_type: 'guidance_answer';
  /** Required without `selected`. */
  answer?: string;
  /** The id of the question; without it the agent's only open one. */
  in_reply_to?: string;
  selected?: string[];
  answered_in?: AnswerPlace;
  /** The asking agent's own token sends it, for a person who answered in the terminal of its session. Not stored. */
  ownTerminal?: true;
  /** It came as a message, so nothing proves who gives it. Not stored. */
  isMessage?: true;
}

export interface CompleteCommand extends Envelope {
  control_type: 'completion';
  summary?: string;
  evidence?: Evidence[];
}

export interface ValidateCommand extends Envelope {
  control_type: 'validation';
  status: 'passed' | 'failed';
  done_criteria: string;
  evidence?: Evidence[];
}

/**
 * What a control signal asks for, the same for every schema version. The event of a signal stores a command, so readers of
 * the log know one form.
 */
export type SignalCommand = AskCommand | AnswerCommand | CompleteCommand | ValidateCommand;

/** One schema version of control signals: what it looks like on the wire, and what it means. */
export interface SignalVersion {
  /** The value of `schema_version`. */
  version: number;
  /** The body of a signal. */
  schema: TSchema;
  /** Translates a body that fits the schema. */
  toCommand(body: unknown): SignalCommand;
}

/** The schema versions that the service takes. A body that names none is judged by the first one. */
export type VersionList = readonly [SignalVersion, ...SignalVersion[]];
