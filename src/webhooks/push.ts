import { ECDH } from 'node:crypto';
import type { Reader } from '../db/database.ts';
import { findPushKeys } from './repository.ts';
import type { Settings } from './schemas.ts';

/** The key pair by which push services know this service (RFC 8292), and how they reach its operator. */
export interface Vapid {
  /** base64url. */
  publicKey: string;
  privateKey: string;
  /** A URL. */
  subject: string;
}

/** Reads who this service is for push services. @param publicUrl at which people reach it; may be empty */
export async function readVapid(reader: Reader, publicUrl: string): Promise<Vapid> {
  // Some push services refuse addresses of the machine itself.
  const subject = publicUrl.startsWith('https:') ? publicUrl : 'mailto:forumbus@example.com';
  return { ...(await findPushKeys(reader)), subject };
}

/** Why the keys of a browser cannot encrypt; undefined if they can. */
export function pushFault({ p256dh, auth }: Settings): string | undefined {
  if (p256dh === undefined || auth === undefined) return 'needs the p256dh and auth of the subscription';
  try {
    ECDH.convertKey(p256dh, 'prime256v1', 'base64url');
  } catch {
    return 'has a p256dh that is no public key';
  }
  return undefined;
}
