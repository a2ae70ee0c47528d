import { isUtf8 } from 'node:buffer';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { TSchema } from 'typebox';
import { Refusal } from '../errors.ts';
import { cut } from '../text.ts';
import { type JsonFault, scanJson } from './json-scan.ts';
import { componentName, POINTER_LENGTH } from './schemas.ts';

/** Above this size, reading a body yields to other requests between its steps. Bytes. */
const LARGE = 65_536;

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Nothing of the body is stored as sent, so that its numbers and names may be any. */
    isOnlyRead?: boolean;
  }
}

/**
 * Accepts only JSON bodies in UTF-8 that are stored as sent. Other bytes, numbers beyond a double, or a name given
 * twice (RFC 7493, 2.3) would be stored as something else. Names that could change a prototype are refused: readers may
 * merge the objects.
 */
export function useJson(app: FastifyInstance, components: TSchema[]): void {
  const byName = new Map(components.map(component => [`${componentName(component)}#`, component]));
  const parse = app.getDefaultJsonParser('ignore', 'ignore');
  app.removeAllContentTypeParsers();
  app.addHook('preParsing', (request, reply, _payload, done) => {
    const { 'content-encoding': encoding = '' } = request.headers;
    if (!encoding || !hasBody(request) || /^(identity[ \t,]*)+$/i.test(encoding)) return done();
    reply.header('accept-encoding', 'identity');
    done(
      new Refusal('UNSUPPORTED_MEDIA_TYPE', 'Send the body without compression: Content-Encoding must be identity.'),
    );
  });
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, body: Buffer, done) => {
    if (body.length === 0 && mayBeLeftOut(request)) return done(null, undefined);
    if (!isUtf8(body)) return done(new Refusal('MALFORMED_JSON', 'The body is not UTF-8.'), undefined);
    const { isOnlyRead } = request.routeOptions.config;
    const { fault, names } = scanJson(body, { anyNumber: isOnlyRead });
    if (fault) return done(refusalOf(fault), undefined);
    parse(request, body.toString('utf8'), (error, value) => {
      if (error) return done(error, undefined);
      const finish = () => {
        if (!isOnlyRead && namesIn(value) !== names) {
          const { fault } = scanJson(body, { strict: true });
          if (fault) return done(refusalOf(fault), undefined);
        }
        done(null, value);
      };
      if (body.length > LARGE) setImmediate(finish);
      else finish();
    });
  });

  /** Whether a route takes no body, or one whose fields are all optional. */
  function mayBeLeftOut({ routeOptions: { schema } }: FastifyRequest): boolean {
    const body = schema?.body as { $ref?: string } | undefined;
    if (!body) return true;
    const { type, required, oneOf } = (byName.get(body.$ref ?? '') ?? body) as Record<string, unknown>;
    return type === 'object' && required === undefined && oneOf === undefined;
  }
}

function hasBody({ headers }: FastifyRequest): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}

function refusalOf({ code, pointer: whole, detail }: JsonFault): Refusal {
  // A name may be as long as the body.
  const pointer = cut(whole, POINTER_LENGTH);
  const problem = code === 'NUMBER_NOT_EXACT' ? code : 'VALIDATION_FAILED';
  return new Refusal(problem, `body${pointer}: ${detail}`, { errors: [{ in: 'body', pointer, code, detail }] });
}

/** The number of names in all objects of a value; NaN if one could change a prototype. A scan has bounded its depth. */
function namesIn(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0;
  if (couldChangePrototype(value)) return Number.NaN;
  const members = Object.values(value);
  return members.reduce<number>((sum, member) => sum + namesIn(member), Array.isArray(value) ? 0 : members.length);
}

function couldChangePrototype(value: object): boolean {
  if (Object.hasOwn(value, '__proto__')) return true;
  const { constructor: made } = value as { constructor: unknown };
  return typeof made === 'object' && made !== null && Object.hasOwn(made, 'prototype');
}
