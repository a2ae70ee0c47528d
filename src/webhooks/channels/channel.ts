import type { AnswerLink } from '../../links/service.ts';
import type { AnswerChannel } from '../../questions/schemas.ts';
import type { Mail } from '../mail.ts';
import type { Follow, HttpRequest, Post, PostAnswer } from '../post.ts';
import type { Vapid } from '../push.ts';
import type { Settings } from '../schemas.ts';
import type { OpenSocket } from '../socket.ts';
import type { Notice } from './notice.ts';

/** Where messages go. */
export type Target = Settings & { url: string };

/** What a message is made of. */
export interface ChannelMessage {
  notice: Notice;
  /** To the question, if it waits and may be answered from here. */
  link: AnswerLink | undefined;
  to: Target;
  /** The keys of this service, for push services. */
  vapid: Vapid;
}

/** What the answer to a message says beyond its status. */
export interface Reading {
  /** The message that was sent, so that it can be replaced later. */
  reference?: string;
  /** It has succeeded although its status says otherwise. */
  isDone?: boolean;
  /** Why it failed although its status says nothing of it, or better than that. */
  error?: string;
  retryAfterMs?: number;
  /** The message that was to be replaced is not there any more, or cannot be changed. */
  isGone?: boolean;
}

/** A press on a button. */
export interface Press {
  /** What the button carries. */
  handle: string;
  /** Where it was pressed: a chat or a room; undefined if the channel cannot say. */
  place?: string;
  /** Who pressed it, as the channel says; undefined if it cannot. */
  person?: string;
  /** The message that it stands in, as {@link Reading} has it; undefined if the channel cannot say, or change it. */
  reference?: string;
  /** Tells the channel that the press was taken, and who pressed what came of it. */
  settle: (outcome: { text: string; isAnswer: boolean }) => Promise<void>;
}

/** What a channel has said: a press, or a step in what is read. */
export interface Heard {
  press?: Press;
  /** From where to go on after a restart; undefined if the channel keeps nothing. */
  position?: string;
}

/** The ways out of the service. All of them connect to allowed addresses only. */
export interface Wire {
  post: Post;
  follow: Follow;
  openSocket: OpenSocket;
}

/** How a channel is followed for presses. */
export interface Hearing {
  /** Where its answers were given. */
  channel: AnswerChannel;
  /** Names what is followed, such as a bot; undefined if the settings name nothing. It may be told to anybody. */
  source: (to: Target) => string | undefined;
  /** Whether a press at a place comes from where the messages go. */
  isAt?: (to: Target, place: string | undefined) => boolean;
  /** Follows presses from a position on, until the connection is lost or `signal` is aborted. */
  hear: (to: Target, position: string | null, wire: Wire, signal: AbortSignal) => AsyncIterable<Heard>;
}

/** A channel that takes messages by HTTP. */
export interface HttpChannel {
  /** The longest text of a message, with room for what stands around it. Characters. */
  length: number;
  /** The request that sends a message; with `reference`, the one that replaces an earlier message by it. */
  request: (message: ChannelMessage, reference?: string) => HttpRequest;
  read?: (answer: PostAnswer, to: Target) => Reading;
  hearing?: Hearing;
}

/** A channel that takes mails. */
export interface MailChannel {
  length: number;
  mail: (message: ChannelMessage) => Mail;
  hearing?: undefined;
}

export type Channel = HttpChannel | MailChannel;

export const JSON_TYPE = { 'content-type': 'application/json; charset=utf-8' };
