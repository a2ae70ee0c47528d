import { hkdfSync } from 'node:crypto';
import { anonymous } from '../access/caller.ts';
import type { Clock } from '../clock.ts';
import type { Database, Reader, Tx } from '../db/database.ts';
import { Refusal } from '../errors.ts';
import type { AnswerChannel, Question } from '../questions/schemas.ts';
import type { QuestionService } from '../questions/service.ts';
import type { SignalService } from '../signals/service.ts';
import { findLinkSecret } from './repository.ts';
import { fromHandle, fromToken, type LinkGrant, toHandle, toToken } from './token.ts';

/** How long a link lasts whose question does not expire. Milliseconds. */
const LASTS_MS = 7 * 24 * 3_600_000;

interface Dependencies {
  db: Pick<Database, 'read'>;
  clock: Clock;
  questions: Pick<QuestionService, 'get'>;
  signals: Pick<SignalService, 'answer'>;
  /** The address of the service for people; empty if it has none. */
  publicUrl: string;
}

export type AnswerLinkService = ReturnType<typeof createAnswerLinks>;

/** A link to one question. */
export interface AnswerLink {
  /** The page; undefined if people cannot reach the service. */
  url: string | undefined;
  /** For each option what a button carries that answers with it; none if no button may. */
  handles: string[];
}

/** Who gets a link: the name stands in the answer, the number in the handles of buttons. */
export interface Recipient {
  name: string;
  number: number;
}

/** A button that answers with one option. */
export interface Button {
  /** As it is now. */
  question: Question;
  /** Of the question when the button was made. */
  version: number;
  label: string;
  /** Of the recipient. */
  number: number;
}

/** What the holder of a link answers with: labels, or a text. */
export interface LinkAnswer {
  selected: string[];
  answer: string;
}

/**
 * Answer links: the holder of one may answer its question once, without a token. A link dies with the question. Looking
 * at it changes nothing, since mail scanners and previews look too.
 */
export function createAnswerLinks({ db, clock, questions, signals, publicUrl }: Dependencies) {
  /** @throws Refusal NOT_FOUND if the service has not made the link */
  async function grantOf(reader: Reader, token: string): Promise<LinkGrant> {
    const grant = fromToken(token, await findLinkSecret(reader));
    if (!grant) throw new Refusal('NOT_FOUND', 'There is no such answer link.');
    return grant;
  }

  /** The address of a path; undefined if people cannot reach the service. */
  const addressOf = (path: string) => (publicUrl === '' ? undefined : `${publicUrl.replace(/\/$/, '')}/${path}`);

  return {
    /** A key of 32 bytes for another purpose, from the secret of the links. All processes of a database know it. */
    async keyFor(purpose: string): Promise<Uint8Array> {
      return new Uint8Array(hkdfSync('sha256', await findLinkSecret(db.read), '', `forumbus ${purpose}`, 32));
    },

    /** Whether links have a page: people need an address. */
    isAvailable: publicUrl !== '',

    /**
     * The link by which a recipient may answer an open question. If two people must answer, it leads to the page for people,
     * where each of them is known by a token.
     */
    async linkTo(
      question: Pick<Question, 'question_id' | 'version' | 'expires_at' | 'options' | 'approvals_required'>,
      { name, number }: Recipient,
    ): Promise<AnswerLink> {
      const { question_id, version, expires_at, options } = question;
      if (question.approvals_required > 1) return { url: addressOf(`q/${question_id}`), handles: [] };
      const secret = await findLinkSecret(db.read);
      const until = expires_at === null ? clock.now() + LASTS_MS : Date.parse(expires_at);
      const token = toToken({ question_id, version, recipient: name, expires_at: until }, secret);
      const base = { question_id, version, recipient: number };
      return {
        url: addressOf(`a/${token}`),
        handles: options.map((_, option) => toHandle({ ...base, option }, secret)),
      };
    },

    /** What a button stands for. @throws Refusal NOT_FOUND if the service has not made it, QUESTION_NOT_FOUND */
    async button(handle: string): Promise<Button> {
      const grant = fromHandle(handle, await findLinkSecret(db.read));
      if (!grant) throw new Refusal('NOT_FOUND', 'There is no such button.');
      const question = await questions.get(grant.question_id);
      const { label } = question.options[grant.option] as Question['options'][number];
      return { question, version: grant.version, label, number: grant.recipient };
    },

    /**
     * Answers the question of a button with its option, in the name of the person who pressed it in a channel.
     * @throws Refusal PRECONDITION_FAILED if the question has changed or ended
     */
    async press(
      tx: Tx,
      { question: { question_id }, version, label }: Button,
      { name, channel }: { name: string; channel: AnswerChannel },
    ): Promise<Question> {
      const given = { selected: [label], answered_in: channel, actor: { type: 'human' as const, name } };
      return signals.answer(tx, question_id, given, [version], anonymous);
    },

    /** The question of a link, and whether the link can answer it. @throws Refusal NOT_FOUND, QUESTION_NOT_FOUND */
    async show(token: string): Promise<{ question: Question; isOpen: boolean }> {
      const { question_id, version, expires_at } = await grantOf(db.read, token);
      const question = await questions.get(question_id);
      const isOpen = question.state === 'open' && question.version === version && clock.now() < expires_at;
      return { question, isOpen };
    },

    /**
     * Answers the question in the name of the recipient.
     * @throws Refusal NOT_FOUND, QUESTION_CLOSED if the link has expired; those of an answer
     */
    async answer(tx: Tx, token: string, { selected, answer }: LinkAnswer): Promise<Question> {
      const { question_id, version, recipient, expires_at } = await grantOf(tx, token);
      if (clock.now() >= expires_at) throw new Refusal('QUESTION_CLOSED', 'The answer link has expired.');
      const given = {
        ...(answer !== '' && { answer }),
        ...(selected.length > 0 && { selected }),
        ...{ answered_in: 'link' as const, actor: { type: 'human' as const, name: recipient } },
      };
      return signals.answer(tx, question_id, given, [version], anonymous);
    },
  };
}
