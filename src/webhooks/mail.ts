import { connect, isIP } from 'node:net';
import { textOf } from '../error-text.ts';
import type { AddressGuard } from './addresses.ts';
import { failed, headOf, POST_TIMEOUT_MS, type PostAnswer } from './post.ts';

/** A mail to people. */
export interface Mail {
  from: string;
  to: string[];
  subject: string;
  text: string;
  html: string;
  /** With the angle brackets. */
  messageId: string;
  /** The mail that began the thread; without it this one does. */
  references?: string;
  isUrgent: boolean;
}

/** Sends one mail: its status is the code of SMTP. It throws only if `signal` is aborted. */
export type SendMail = (url: string, mail: Mail, signal: AbortSignal) => Promise<PostAnswer>;

const PORTS: Record<string, number> = { 'smtps:': 465, 'smtp:': 587 };

/** Makes a client that connects to allowed addresses only, and speaks without TLS only to those that were named. */
export function createSendMail(guard: AddressGuard): SendMail {
  async function send(url: URL, { isUrgent, ...mail }: Mail, signal: AbortSignal): Promise<PostAnswer> {
    const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
    const port = Number(url.port || PORTS[url.protocol]);
    // Loaded with the first mail: the library takes 5 MiB, and few services send any.
    const { createTransport } = await import('nodemailer');
    const socket = connect({ host, port, lookup: guard.lookup(false), signal });
    try {
      await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject));
      const secure = url.protocol === 'smtps:';
      // Where plain text is allowed, TLS with a certificate of nobody's is better.
      const isTrusted = !secure && guard.isListed(socket.remoteAddress ?? '');
      const transport = createTransport({
        ...{ host, port, secure, requireTLS: !isTrusted },
        // The name is checked against the certificate, although the address was chosen before.
        tls: { ...(isIP(host) === 0 && { servername: host }), rejectUnauthorized: !isTrusted },
        getSocket: (_options, callback) => callback(null, { connection: socket }),
        ...(url.username !== '' && {
          auth: { user: decodeURIComponent(url.username), pass: decodeURIComponent(url.password) },
        }),
        // Nothing in a mail names a file or a URL that is to be read.
        ...{ disableFileAccess: true, disableUrlAccess: true },
      });
      const { response } = await transport.sendMail({
        ...mail,
        from: { name: 'Forumbus', address: mail.from },
        to: mail.to.map(address => ({ name: '', address })),
        ...(mail.references !== undefined && { inReplyTo: mail.references }),
        headers: {
          ...{ 'auto-submitted': 'auto-generated', 'x-auto-response-suppress': 'All' },
          'list-unsubscribe': unsubscribeBy(mail.from),
        },
        ...(isUrgent && { priority: 'high' as const }),
      });
      return { status: codeOf(response), head: headOf(response), text: response, error: null, retryAfterMs: null };
    } catch (error) {
      const { responseCode, response = '' } = error as { responseCode?: number; response?: string };
      if (responseCode === undefined) throw error;
      const answered = { status: responseCode, head: headOf(response) };
      return { ...failed(`The mail server answered ${responseCode}.`), ...answered };
    } finally {
      socket.destroy();
    }
  }

  return async (address, mail, signal) => {
    const url = new URL(address);
    const fault = guard.fault(url, 'mail');
    if (fault !== undefined) return failed(`The URL ${fault}.`);
    const timeout = AbortSignal.timeout(POST_TIMEOUT_MS);
    try {
      return await send(url, mail, AbortSignal.any([signal, timeout]));
    } catch (error) {
      signal.throwIfAborted();
      return failed(timeout.aborted ? `No answer within ${POST_TIMEOUT_MS / 1000} s.` : textOf(error));
    }
  };
}

/** The field by which mail programs offer to unsubscribe (RFC 2369, 3.2): a mail to the readers of the sender's address. */
function unsubscribeBy(from: string): string {
  const [local = '', domain = ''] = from.split('@');
  return `<mailto:${encodeURIComponent(local)}@${domain}?subject=unsubscribe>`;
}

function codeOf(response: string): number {
  return Number(/^\d{3}/.exec(response)?.[0] ?? 250);
}
