import fastJson from 'fast-json-stringify';
import type { FastifyInstance, FastifyReply } from 'fastify';
import type { TSchema } from 'typebox';
import { tagResource } from './etags.ts';
import { Problem } from './problems.ts';
import { componentName, Ref } from './schemas.ts';

const PROBLEM = JSON.stringify(Ref(Problem));

/**
 * Compiles one serializer per schema, when it is first needed. Fastify compiles one per route and status at the start,
 * each from all components, which took half of the start time.
 */
export function useSerialization(app: FastifyInstance, components: TSchema[]): void {
  const externalSchema = Object.fromEntries(
    components.map(component => [componentName(component), component as fastJson.Schema]),
  );
  const serializers = new Map<string, (answer: unknown) => string>();
  app.setSerializerCompiler(({ schema }) => {
    const key = JSON.stringify(schema);
    // Problem documents are rare and have extension members, which a compiled serializer would drop.
    if (key === PROBLEM) return JSON.stringify;
    let compiled: ((answer: unknown) => string) | undefined;
    const serializer =
      serializers.get(key) ??
      (answer => {
        compiled ??= fastJson(schema as fastJson.Schema, { schema: externalSchema });
        return compiled(answer);
      });
    serializers.set(key, serializer);
    return serializer;
  });
}

/** The bytes of resources that several requests are answered with. */
const texts = new WeakMap<object, Buffer>();

/**
 * Sends a resource that other requests are answered with, too: it is serialised once, and the answers share its bytes.
 * Fastify's types want the resource itself, so the result has its type.
 */
export function sendShared<T extends object>(reply: FastifyReply, resource: T): T {
  const text = texts.get(resource) ?? Buffer.from(String(reply.code(200).serialize(resource)));
  texts.set(resource, text);
  tagResource(reply, resource);
  void reply.code(200).type('application/json; charset=utf-8').send(text);
  return reply as unknown as T;
}
