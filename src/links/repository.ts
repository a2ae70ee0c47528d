import type { Reader } from '../db/database.ts';

/** The secret that signs answer links, the same for all processes of a database. */
export async function findLinkSecret(reader: Reader): Promise<string> {
  return (await reader.query.selectFrom('link_secrets').select('secret').executeTakeFirstOrThrow()).secret;
}
