import { createHmac, timingSafeEqual } from 'node:crypto';

/** What an answer link allows: one person to answer one question, as it was when the link was made. */
export interface LinkGrant {
  question_id: string;
  /** Of the question; every change of it ends the link. */
  version: number;
  /** In whose name the answer is stored. */
  recipient: string;
  /** Epoch milliseconds. */
  expires_at: number;
}

/** Makes the token of an answer link: the grant, and its HMAC. */
export function toToken({ question_id, version, recipient, expires_at }: LinkGrant, secret: string): string {
  const text = JSON.stringify([question_id, version, recipient, expires_at]);
  const payload = Buffer.from(text).toString('base64url');
  return `${payload}.${signatureOf(payload, secret).toString('base64url')}`;
}

/** The grant of a token; undefined if the service has not made it. */
export function fromToken(token: string, secret: string): LinkGrant | undefined {
  const [payload = '', signature = ''] = token.split('.');
  const given = Buffer.from(signature, 'base64url');
  const right = signatureOf(payload, secret);
  if (given.length !== right.length || !timingSafeEqual(given, right)) return undefined;
  const [question_id, version, recipient, expires_at] = JSON.parse(Buffer.from(payload, 'base64url').toString());
  return { question_id, version, recipient, expires_at };
}

/** What a button allows: to answer one question with one of its options, as they were when the button was made. */
export interface ButtonGrant {
  question_id: string;
  /** Of the question; every change of it ends the button. */
  version: number;
  /** Place of the option in the question, from 0. */
  option: number;
  /** Number of the recipient of the button. */
  recipient: number;
}

/** Bytes of the HMAC of a handle. The whole handle has to fit into the 64 bytes that Telegram gives a button. */
const HANDLE_HMAC_BYTES = 16;
const HANDLE = /^([\w-]{22})\.([0-9a-z]{1,6})\.([0-9a-z]{1,2})\.([0-9a-z]{1,8})\.[\w-]{22}$/;

/** Makes the handle of a button: the grant, and a part of its HMAC. At most 64 characters of ASCII. */
export function toHandle({ question_id, version, option, recipient }: ButtonGrant, secret: string): string {
  const id = Buffer.from(question_id.replace('q_', ''), 'hex').toString('base64url');
  const payload = [id, ...[version, option, recipient].map(number => number.toString(36))].join('.');
  return `${payload}.${handleHmac(payload, secret).toString('base64url')}`;
}

/** The grant of a handle; undefined if the service has not made it. */
export function fromHandle(handle: string, secret: string): ButtonGrant | undefined {
  const [, id = '', version = '', option = '', recipient = ''] = HANDLE.exec(handle) ?? [];
  const end = handle.lastIndexOf('.');
  const given = Buffer.from(handle.slice(end + 1), 'base64url');
  const right = handleHmac(handle.slice(0, end), secret);
  if (id === '' || given.length !== right.length || !timingSafeEqual(given, right)) return undefined;
  const [v, o, r] = [version, option, recipient].map(digits => Number.parseInt(digits, 36)) as [number, number, number];
  return { question_id: `q_${Buffer.from(id, 'base64url').toString('hex')}`, version: v, option: o, recipient: r };
}

/** Of another domain than that of a link, so that neither can stand for the other. */
function handleHmac(payload: string, secret: string): Buffer {
  return signatureOf(`button ${payload}`, secret).subarray(0, HANDLE_HMAC_BYTES);
}

function signatureOf(payload: string, secret: string): Buffer {
  return createHmac('sha256', secret).update(payload).digest();
}
