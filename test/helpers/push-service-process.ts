import { createDecipheriv, createECDH, createPublicKey, type ECDH, hkdfSync, verify } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

/*
 * A push service with one browser, as a process of its own: it checks what senders say of themselves (RFC 8292) and
 * decrypts what they send by the keys of the browser (RFC 8291), from the documents and not by the library of the service.
 * Its output is a line of JSON for the subscription, and one for each message. A line of its input is the status that it
 * answers from then on.
 */

const browser = createECDH('prime256v1');
const p256dh = browser.generateKeys('base64url');
const auth = Buffer.from('0123456789abcdef');
let status = 201;

const server = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on('data', chunk => chunks.push(chunk));
  request.on('end', () => {
    const { ttl, urgency, topic, authorization = '' } = request.headers;
    const encoding = request.headers['content-encoding'];
    const sender = senderOf(authorization);
    const text = encoding === 'aes128gcm' ? decrypted(browser, Buffer.concat(chunks)) : '';
    say({ path: request.url, ttl, urgency, topic, sender, message: JSON.parse(text) });
    response.writeHead(status).end();
  });
});
server.listen(0, '127.0.0.1', () => {
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}/push/1`;
  say({ endpoint, keys: { p256dh, auth: auth.toString('base64url') } });
});
process.stdin.on('data', line => {
  status = Number(line);
  say({ status });
});
process.stdin.on('end', () => process.exit());

function say(line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

/** The claims of a token that its key has signed. */
function senderOf(authorization: string): object | null {
  const [, token = '', key = ''] = /^vapid t=([^,]+), ?k=(.+)$/i.exec(authorization) ?? [];
  const [head = '', claims = '', signature = ''] = token.split('.');
  const point = Buffer.from(key, 'base64url');
  const part = (from: number) => point.subarray(from, from + 32).toString('base64url');
  const jwk = { kty: 'EC', crv: 'P-256', x: part(1), y: part(33) };
  const signed = Buffer.from(`${head}.${claims}`);
  const publicKey = { key: createPublicKey({ key: jwk, format: 'jwk' }), dsaEncoding: 'ieee-p1363' as const };
  if (!verify('sha256', signed, publicKey, Buffer.from(signature, 'base64url'))) return null;
  return { key, ...JSON.parse(Buffer.from(claims, 'base64url').toString()) };
}

/** The text of a body of one record: salt (16), record size (4), key length (1), the sender's key, the record. */
function decrypted(own: ECDH, body: Buffer): string {
  const salt = body.subarray(0, 16);
  const theirs = body.subarray(21, 21 + body.readUInt8(20));
  const record = body.subarray(21 + theirs.length);
  const info = Buffer.concat([Buffer.from('WebPush: info\0'), own.getPublicKey(), theirs]);
  const secret = Buffer.from(hkdfSync('sha256', own.computeSecret(theirs), auth, info, 32));
  const derived = (name: string, length: number) =>
    Buffer.from(hkdfSync('sha256', secret, salt, Buffer.from(`Content-Encoding: ${name}\0`), length));
  const cipher = createDecipheriv('aes-128-gcm', derived('aes128gcm', 16), derived('nonce', 12));
  cipher.setAuthTag(record.subarray(-16));
  const padded = Buffer.concat([cipher.update(record.subarray(0, -16)), cipher.final()]);
  return padded.subarray(0, padded.lastIndexOf(2)).toString();
}
