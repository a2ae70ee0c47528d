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

/** Reads that form. What is not of it has a type that no actor has. */
export function parseActor(text: string): Actor {
  const colon = text.indexOf(':');
  return { type: text.slice(0, Math.max(colon, 0)) as Actor['type'], name: text.slice(colon + 1) };
}
