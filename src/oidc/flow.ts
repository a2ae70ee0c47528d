import { EncryptJWT, jwtDecrypt } from 'jose';

/** A login that has begun in a browser. */
export interface Flow {
  /** Binds the answer of the provider to this browser (RFC 6749, 10.12). */
  state: string;
  /** Binds the ID token to this login (OpenID Connect Core 1.0, 3.1.2.1). */
  nonce: string;
  /** Binds the code to this login (PKCE, RFC 7636). */
  verifier: string;
  /** The fragment of the page to go to, such as `/runs/run-7`; empty for its beginning. */
  view: string;
}

const HEADER = { alg: 'dir', enc: 'A256GCM' } as const;

/** The text that a browser keeps meanwhile; it cannot read it. Any process with the key takes it. @param until epoch milliseconds */
export function seal(flow: Flow, key: Uint8Array, until: number): Promise<string> {
  return new EncryptJWT({ ...flow }).setProtectedHeader(HEADER).setExpirationTime(new Date(until)).encrypt(key);
}

/** The flow of such a text; undefined if it is none of ours, or too old. @param now epoch milliseconds */
export async function unseal(text: string, key: Uint8Array, now: number): Promise<Flow | undefined> {
  const options = {
    keyManagementAlgorithms: [HEADER.alg],
    contentEncryptionAlgorithms: [HEADER.enc],
    currentDate: new Date(now),
  };
  return jwtDecrypt<Flow>(text, key, options).then(
    ({ payload: { state, nonce, verifier, view } }) => ({ state, nonce, verifier, view }),
    () => undefined,
  );
}
