import { type Static, Type } from 'typebox';
import { Actor } from '../actor.ts';
import {
  Erased,
  Id,
  LENGTHS,
  Name,
  Nullable,
  PageOf,
  pageQuery,
  Ref,
  Sequence,
  Strict,
  Text,
  Timestamp,
  Title,
  Version,
} from '../http/schemas.ts';
import { priorities } from '../priority.ts';
import { threadStates } from './thread.ts';

export const ThreadStateName = Type.Enum([...threadStates]);
export const ThreadPriority = Type.Enum([...priorities]);
export const Assignee = Nullable(Name);
/** Optional because a token of one actor implies it. */
const actor = Type.Optional(Ref(Actor));
/** A request body whose actor is known. */
export type ActOf<T> = Omit<T, 'actor'> & { actor: Actor };

const Viewer = Type.String({ ...Name, description: 'The viewer, such as `human:ana`.' });

export const Thread = Type.Object(
  {
    thread_id: Id,
    kind: Type.Enum(['control', 'discussion']),
    title: Type.String(),
    state: Type.Enum([...threadStates]),
    priority: Type.Enum([...priorities]),
    assignee: Nullable(Name),
    ticket: Nullable(Name),
    run_id: Nullable(Name),
    agent_name: Nullable(Name),
    unanswered: Type.Boolean({ description: 'An agent wrote the latest post, and no answer followed.' }),
    unseen: Type.Optional(
      Type.Boolean({
        description: 'The thread has an event that the viewer has not seen. Only present with `viewer`.',
      }),
    ),
    posts_count: Type.Integer(),
    last_sequence: Sequence,
    last_actor: Ref(Actor),
    opened_by: Ref(Actor),
    opened_at: Timestamp,
    updated_at: Timestamp,
    closed_at: Nullable(Timestamp),
    version: Version,
    erased: Erased,
  },
  {
    $id: 'Thread',
    description: 'The current state of a thread.',
    examples: [
      {
        thread_id: 'fctrl-run-7-builder-e0a6c3f1b2d49587',
        kind: 'control',
        title: 'Control: builder in run-7',
        state: 'waiting_operator',
        priority: 'normal',
        assignee: null,
        ticket: 'TCK-1',
        run_id: 'run-7',
        agent_name: 'builder',
        unanswered: true,
        posts_count: 1,
        last_sequence: 4,
        last_actor: { type: 'agent', name: 'builder' },
        opened_by: { type: 'agent', name: 'builder' },
        opened_at: '2026-11-22T09:30:00.000Z',
        updated_at: '2026-11-22T09:30:00.000Z',
        closed_at: null,
        version: 1,
      },
    ],
  },
);
export type Thread = Static<typeof Thread>;

export const Post = Type.Object(
  {
    post_id: Id,
    thread_id: Id,
    sequence: Sequence,
    body: Type.String(),
    actor: Ref(Actor),
    created_at: Timestamp,
    control_type: Nullable(
      Type.String({ description: 'The type of the control signal behind this post; null for other posts.' }),
    ),
    signal_id: Nullable(Id),
  },
  {
    $id: 'Post',
    description: 'Text in a thread: a written post, or a control signal as text.',
    examples: [
      {
        post_id: 'post_019a3f6e2b7c7d0f8a4c1f2e3d4c5b6a',
        thread_id: 'thr_019a3f6e2b7c7d0f8a4c1f2e3d4c5b69',
        sequence: 12,
        body: 'The migration is on staging.',
        actor: { type: 'operator', name: 'ana' },
        created_at: '2026-11-22T09:31:00.000Z',
        control_type: null,
        signal_id: null,
      },
    ],
  },
);
export type Post = Static<typeof Post>;

export const ThreadPage = PageOf(Thread);
export const PostPage = PageOf(Post);

export const PostAndThread = Type.Object(
  { post: Ref(Post), thread: Ref(Thread) },
  { $id: 'PostAndThread', description: 'A new post, and its thread after the post.' },
);
export type PostAndThread = Static<typeof PostAndThread>;

export const NewThread = Strict(
  {
    title: Title,
    body: Text(LENGTHS.body),
    actor,
    ticket: Type.Optional(Name),
    run_id: Type.Optional(Name),
    agent_name: Type.Optional(Name),
    priority: Type.Optional(Type.Enum([...priorities], { default: 'normal' })),
    thread_id: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 200,
        pattern: '^(?!\\.{1,2}$)[A-Za-z0-9._~-]+$',
        description: 'An id chosen by the caller. It must not begin with `fctrl-`, in any case.',
      }),
    ),
  },
  {
    $id: 'NewThread',
    examples: [{ title: 'Which region?', body: 'Staging runs in two.', actor: { type: 'agent', name: 'builder' } }],
  },
);
export type NewThread = Static<typeof NewThread>;

export const NewPost = Strict(
  { body: Text(LENGTHS.body), actor, state: Type.Optional(Type.Enum([...threadStates])) },
  {
    $id: 'NewPost',
    examples: [{ body: 'Use eu-west-1.', actor: { type: 'operator', name: 'ana' }, state: 'answered' }],
  },
);
export type NewPost = Static<typeof NewPost>;

export const ThreadChange = Strict(
  {
    state: Type.Optional(ThreadStateName),
    priority: Type.Optional(ThreadPriority),
    assignee: Type.Optional(Assignee),
    actor,
  },
  {
    $id: 'ThreadChange',
    examples: [{ state: 'triaged', priority: 'high', assignee: 'ana', actor: { type: 'operator', name: 'ana' } }],
  },
);
export type ThreadChange = Static<typeof ThreadChange>;

export const SeenMark = Strict(
  {
    sequence: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: Number.MAX_SAFE_INTEGER,
        description:
          'The sequence of the newest event that the viewer has seen; by default the newest event of the thread.',
      }),
    ),
  },
  { $id: 'SeenMark', examples: [{ sequence: 12 }] },
);

export const ThreadParams = Strict({ thread_id: Id });
export const ViewerQuery = Strict({ viewer: Type.Optional(Viewer) });
export const PostQuery = Strict({
  order: Type.Optional(Type.Enum(['oldest', 'newest'], { description: '`oldest` first if left out.' })),
  ...pageQuery,
});
export type PostQuery = Static<typeof PostQuery>;
export const SeenParams = Strict({ thread_id: Id, viewer: Viewer });

export const ThreadQuery = Strict({
  ticket: Type.Optional(Name),
  run_id: Type.Optional(Name),
  agent_name: Type.Optional(Name),
  state: Type.Optional(Type.Enum([...threadStates])),
  priority: Type.Optional(Type.Enum([...priorities])),
  assignee: Type.Optional(Name),
  kind: Type.Optional(Type.Enum(['control', 'discussion'])),
  q: Type.Optional(
    Type.String({
      maxLength: 1000,
      description:
        'Search words. All must occur in the title, or in one post and the title together. ' +
        'Replies in control threads match without the title. ' +
        'A word of four or more characters also matches longer words that begin with it. ' +
        'Case and accents do not count. In scripts without spaces adjacent characters match in order.',
    }),
  ),
  queue: Type.Optional(
    Type.Enum(['unanswered', 'unseen'], {
      description:
        '`unanswered`: an agent wrote the latest post, and no answer followed. ' +
        '`unseen`: the thread has an event that the `viewer` has not seen.',
    }),
  ),
  viewer: Type.Optional(Viewer),
  ...pageQuery,
});
export type ThreadQuery = Static<typeof ThreadQuery>;
