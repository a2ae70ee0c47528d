import { type Static, Type } from 'typebox';
import { Id, Name, Nullable, PageOf, pageQuery, Ref, Strict, Timestamp, waitQuery } from '../http/schemas.ts';
import { Question } from '../questions/schemas.ts';
import { Post } from '../threads/schemas.ts';

export const InboxItem = Type.Object(
  {
    item_id: Id,
    kind: Type.Enum(['answered', 'expired', 'cancelled', 'message'], {
      description: 'How a question of the agent ended, or a post of a person in its control thread.',
    }),
    at: Timestamp,
    claimed_until: Nullable({ ...Timestamp, description: 'The end of the lease; null if nobody holds the item.' }),
    question: Type.Optional(Ref(Question)),
    post: Type.Optional(Ref(Post)),
  },
  {
    $id: 'InboxItem',
    description: 'News for an agent that it has not acknowledged: a question that ended, or a message.',
    examples: [
      {
        item_id: 'item_12',
        kind: 'message',
        at: '2026-11-22T09:31:00.000Z',
        claimed_until: null,
        post: (Post as { examples?: unknown[] }).examples?.[0],
      },
    ],
  },
);
export type InboxItem = Static<typeof InboxItem>;

export const InboxItemPage = PageOf(InboxItem);

export const InboxQuery = Strict({ ...waitQuery, ...pageQuery });

export const InboxClaim = Strict(
  {
    claimant: Type.String({ ...Name, description: 'Who claims, such as one session of a host.' }),
    lease_seconds: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 3600, description: 'How long the items are held; 60 if left out.' }),
    ),
    limit: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 100, description: 'At most so many items; 50 if left out.' }),
    ),
  },
  { $id: 'InboxClaim', examples: [{ claimant: 'session-6f1c2a', lease_seconds: 60, limit: 10 }] },
);
export type InboxClaim = Static<typeof InboxClaim>;

export const ClaimedItems = Type.Object(
  { items: Type.Array(Ref(InboxItem)) },
  { $id: 'ClaimedItems', description: 'The items that the claimant now holds; fewer than asked for above 1 MiB.' },
);

export const InboxAcknowledgement = Strict(
  { item_ids: Type.Array(Id, { minItems: 1, maxItems: 100 }) },
  { $id: 'InboxAcknowledgement', examples: [{ item_ids: ['item_12'] }] },
);

export const Acknowledged = Type.Object(
  { acknowledged: Type.Integer({ minimum: 0, description: 'Items that were not acknowledged before.' }) },
  { $id: 'Acknowledged', examples: [{ acknowledged: 1 }] },
);
