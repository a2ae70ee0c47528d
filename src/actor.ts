import { type Static, Type } from 'typebox';
import { Name } from './http/schemas.ts';

export const Actor = Type.Object(
  { type: Type.Enum(['agent', 'operator', 'human', 'system']), name: Name },
  {
    $id: 'Actor',
    additionalProperties: false,
    description: 'Who acts.',
    examples: [{ type: 'agent', name: 'builder' }],
  },
);

export type Actor = Static<typeof Actor>;

/** The form in which an actor is stored: `type:name`. */
export function actorText(actor: Actor): string {
  return `${actor.type}:${actor.name}`;
}

export function parseActor(text: string): Actor {
  const colon = text.indexOf(':');
  return { type: text.slice(0, colon) as Actor['type'], name: text.slice(colon + 1) };
}
