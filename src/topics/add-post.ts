import type { Static } from 'typebox';
import { Actor } from '../actor.ts';
import { Id, Ref, Strict } from '../http/schemas.ts';
import { NewPost } from '../threads/schemas.ts';
import type { ThreadService } from '../threads/service.ts';
import { type CommandHandler, command, type Validator } from './command.ts';

const AddPost = Strict({ thread_id: Id, ...NewPost.properties, actor: Ref(Actor) });
export type AddPost = Static<typeof AddPost>;

/** As `POST /threads/{thread_id}/posts`. */
export function addPost(validator: Validator, threads: ThreadService): CommandHandler {
  return command(validator, {
    name: 'add_post',
    schema: AddPost,
    async run(tx, { thread_id, ...body }) {
      const { post } = await threads.addPost(tx, thread_id, body);
      return { thread_id, post_id: post.post_id };
    },
  });
}
