import { type Static, Type } from 'typebox';
import { Name } from './http/schemas.ts';

export const Actor = Type.Object(
  { type: Type.Enum(['agent', 'operator', 'human', 'system']), name: Name },
  {
    $id: 'Actor',
    additionalProperties: false,
    description: 'The agent, person or program that acts.',
    examples: [{ type: 'agent', name: 'builder' }],
  },
);

export type Actor = Static<typeof Actor>;

/** The stored form of an actor: `type:name`. */
export function actorText(actor: Actor): string {
  return `${actor.type}:${actor.name}`;
}

/** Parses `type:name`. Text without a colon gets the type `''`, which equals that of no actor. */
export function parseActor(text: string): Actor {
  const colon = text.indexOf(':');
  return { type: text.slice(0, Math.max(colon, 0)) as Actor['type'], name: text.slice(colon + 1) };
}
