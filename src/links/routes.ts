import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import type { FastifyReply } from 'fastify';
import { problemTable, Refusal } from '../errors.ts';
import type { IdempotentWrites } from '../http/idempotent-writes.ts';
import { LENGTHS } from '../http/schemas.ts';
import { isVisible } from '../text.ts';
import { LINK_POLICY, linkPage, noticePage } from './page.ts';
import type { AnswerLinkService, LinkAnswer } from './service.ts';

interface Dependencies {
  links: AnswerLinkService;
  writes: Pick<IdempotentWrites, 'perform'>;
}

/** Bytes of a form: each character of an answer may be percent-encoded. */
const FORM_BYTES = 262_144;
/** For a second press, or one after somebody else: the page says how the question has ended. */
const TOO_LATE = 'This came too late, or a second time: nothing has changed.';

/** The pages of answer links. They need no token, and are no part of the API. */
export function linkRoutes({ links, writes }: Dependencies): FastifyPluginAsyncTypebox {
  const send = (reply: FastifyReply, status: number, html: string) =>
    reply.code(status).header('content-security-policy', LINK_POLICY).type('text/html; charset=utf-8').send(html);

  /** A refusal as a page: with the question, if there is one. */
  async function sendRefusal(reply: FastifyReply, token: string, error: unknown) {
    if (!(error instanceof Refusal)) throw error;
    const { status } = problemTable[error.code];
    const shown = await links.show(token).catch(() => undefined);
    if (!shown) return send(reply, status, noticePage(error.message));
    return send(reply, status, linkPage(shown, shown.isOpen ? error.message : TOO_LATE));
  }

  return async app => {
    app.addContentTypeParser(
      'application/x-www-form-urlencoded',
      { parseAs: 'string', bodyLimit: FORM_BYTES },
      (_request, body, done) => done(null, new URLSearchParams(String(body))),
    );

    app.get('/a/:token', { schema: { hide: true } }, async (request, reply) => {
      const { token } = request.params as { token: string };
      try {
        return send(reply, 200, linkPage(await links.show(token)));
      } catch (error) {
        return sendRefusal(reply, token, error);
      }
    });

    app.post('/a/:token', { schema: { hide: true } }, async (request, reply) => {
      const { token } = request.params as { token: string };
      try {
        const given = readForm(request.body);
        const question = await writes.perform(request, tx => links.answer(tx, token, given));
        return send(reply, 200, linkPage({ question, isOpen: false }));
      } catch (error) {
        return sendRefusal(reply, token, error);
      }
    });
  };
}

/** @throws Refusal VALIDATION_FAILED */
function readForm(body: unknown): LinkAnswer {
  const form = body instanceof URLSearchParams ? body : new URLSearchParams();
  const text = (form.get('answer') ?? '').replaceAll('\r\n', '\n').trim();
  // A text that shows nothing is none.
  const answer = isVisible(text) ? text : '';
  const selected = form.getAll('selected');
  if (answer === '' && selected.length === 0) throw invalid('Choose an option, or write an answer.');
  if ([...answer].length > LENGTHS.text || answer.includes('\0') || !answer.isWellFormed()) {
    throw invalid(`An answer has at most ${LENGTHS.text} characters of text.`);
  }
  return { answer, selected };
}

function invalid(detail: string): Refusal {
  return new Refusal('VALIDATION_FAILED', detail);
}
