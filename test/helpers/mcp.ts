import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { onTestFinished } from 'vitest';
import type { AtEnd } from './process.ts';

/** The revisions that clients speak: the newest, and those of the handshake before it. */
export const revisions = ['2026-07-28', '2025-11-25', '2025-06-18'] as const;
export type Revision = (typeof revisions)[number];

/** The official client of a revision, without a transport. */
export function clientOf(revision: Revision): Client {
  const mode = revision === '2026-07-28' ? { pin: revision } : ('legacy' as const);
  return new Client(
    { name: 'test', version: '1.0.0' },
    { versionNegotiation: { mode }, ...(mode === 'legacy' && { supportedProtocolVersions: [revision] }) },
  );
}

/** The official client, connected. */
export async function connected(
  url: string,
  revision: Revision,
  headers: Record<string, string> = {},
  atEnd: AtEnd = onTestFinished,
): Promise<Client> {
  const client = clientOf(revision);
  await client.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } }));
  atEnd(() => client.close());
  return client;
}

/** What a tool says, and whether that is an error. */
export async function called(
  client: Client,
  name: string,
  args: Record<string, unknown> = {},
  options: Parameters<Client['callTool']>[1] = {},
): Promise<{ text: string; isError: boolean; meta: Record<string, unknown> }> {
  const result = await client.callTool({ name, arguments: args }, options);
  const [content] = result.content as { text: string }[];
  return { text: content?.text ?? '', isError: result.isError === true, meta: result._meta ?? {} };
}

/** The id of the question that a result is about. */
export function questionOf({ meta }: { meta: Record<string, unknown> }): string {
  return (meta['forumbus/question'] as { question_id: string }).question_id;
}
