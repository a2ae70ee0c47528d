import fastJson from 'fast-json-stringify';
import type { FastifyInstance } from 'fastify';
import type { TSchema } from 'typebox';
import { Problem } from './problems.ts';
import { componentName, Ref } from './schemas.ts';

const PROBLEM = JSON.stringify(Ref(Problem));

/**
 * Compiles one serializer per schema. Fastify compiles one per route and status, each from all components, which took
 * half of the start time.
 */
export function useSerialization(app: FastifyInstance, components: TSchema[]): void {
  const externalSchema = Object.fromEntries(
    components.map(component => [componentName(component), component as fastJson.Schema]),
  );
  const compiled = new Map<string, (answer: unknown) => string>();
  app.setSerializerCompiler(({ schema }) => {
    const key = JSON.stringify(schema);
    // Problem documents are rare and have extension members, which a compiled serializer would drop.
    if (key === PROBLEM) return JSON.stringify;
    const serializer = compiled.get(key) ?? fastJson(schema as fastJson.Schema, { schema: externalSchema });
    compiled.set(key, serializer);
    return serializer;
  });
}
