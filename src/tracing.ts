import {
  type Context,
  context,
  isSpanContextValid,
  ProxyTracer,
  ROOT_CONTEXT,
  type Span,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  type Tracer,
  trace,
} from '@opentelemetry/api';
import { errorName, textOf } from './error-text.ts';

/** A request, or one attempt of a handler, as a part of a trace. */
export interface TracePart {
  /** Makes whatever gets it a child of this part (W3C Trace Context); null if there is no trace. */
  readonly traceparent: string | null;
  /** Runs `work` with the OpenTelemetry context of this part active. */
  run<T>(work: () => T): T;
}

interface ServedRequest {
  method: string;
  /** With the names of its parameters in their places; undefined if there is none for the request. */
  route: string | undefined;
  path: string;
  scheme: string;
}

interface ProcessedMessage {
  message_id: string;
  topic: string;
  handler: string;
}

/** What is recorded where an OpenTelemetry SDK has been registered. */
export interface Tracing {
  /** Begins the span of a request. `end` takes the status that was answered; undefined if there was no answer. */
  request(request: ServedRequest, traceparent: string | null): TracePart & { end(status: number | undefined): void };
  /** Runs an attempt to handle a message in a span of its own, which ends with it: at once if it answers no promise. */
  process<T>(message: ProcessedMessage, traceparent: string | null, attempt: (part: TracePart) => T): T;
}

const HEADER = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;

/**
 * A `traceparent` header in the form of version 00. Null if it is malformed: then it counts as none at all. Of a later
 * version, what version 00 has of it (W3C Trace Context, 3.2 and 4).
 */
export function readTraceparent(header: string): string | null {
  const [, version, traceId = '', spanId = '', flags = '', more] = HEADER.exec(header) ?? [];
  if (version === undefined || version === 'ff' || (version === '00' && more !== undefined)) return null;
  // Ids of zeros only are none.
  if (!isSpanContextValid({ traceId, spanId, traceFlags: 0 })) return null;
  return version === '00' ? header : `00-${traceId}-${spanId}-0${Number.parseInt(flags, 16) & 1}`;
}

/** The part of a trace that only passes through: its traceparent goes on as it came. */
export function passing(traceparent: string | null): TracePart {
  return { traceparent, run };
}

const run = <T>(work: () => T): T => work();

/** The trace that a traceparent belongs to, as it stands in log lines. */
export function traceIdOf(traceparent: string): string {
  return traceparent.slice(3, 35);
}

/** Undefined if no SDK has been registered by now: then nothing is recorded, and what is traced passes through. */
export function createTracing(): Tracing | undefined {
  const tracer = trace.getTracer('forumbus');
  // Its own stand-in, and never that of an SDK, is what the API answers until a provider is registered.
  return tracer instanceof ProxyTracer ? undefined : recording(tracer);
}

function recording(tracer: Tracer): Tracing {
  return {
    request({ method, route, path, scheme }, traceparent) {
      const active = context.active();
      // An instrumentation of HTTP may have begun a span of its own, by whatever headers it understands.
      const isInside = trace.getSpan(active) !== undefined;
      const parent = isInside ? active : withParent(active, traceparent);
      const kind = isInside ? SpanKind.INTERNAL : SpanKind.SERVER;
      const attributes = { 'http.request.method': method, 'url.path': path, 'url.scheme': scheme };
      const span = tracer.startSpan(
        route === undefined ? method : `${method} ${route}`,
        { kind, attributes: route === undefined ? attributes : { ...attributes, 'http.route': route } },
        parent,
      );
      return {
        ...partOf(span, parent, traceparent),
        end(status) {
          if (status !== undefined) span.setAttribute('http.response.status_code', status);
          if (status !== undefined && status >= 500) {
            span.setAttribute('error.type', String(status)).setStatus({ code: SpanStatusCode.ERROR });
          }
          span.end();
        },
      };
    },

    process(message, traceparent, attempt) {
      // Not what is active here: the worker may have been woken by anybody.
      const parent = withParent(ROOT_CONTEXT, traceparent);
      const span = tracer.startSpan(
        `process ${message.topic}`,
        { kind: SpanKind.CONSUMER, attributes: messagingAttributes(message) },
        parent,
      );
      const failed = (error: unknown): never => {
        const name = errorName(error) ?? '_OTHER';
        const message = textOf(error);
        span.recordException({ name, message });
        span.setAttribute('error.type', name).setStatus({ code: SpanStatusCode.ERROR, message });
        span.end();
        throw error;
      };
      try {
        const result = attempt(partOf(span, parent, traceparent));
        if (!(result instanceof Promise)) {
          span.end();
          return result;
        }
        const ended = result.then(value => {
          span.end();
          return value;
        }, failed);
        return ended as typeof result;
      } catch (error) {
        return failed(error);
      }
    },
  };
}

/** OpenTelemetry's semantic conventions for messaging spans. */
function messagingAttributes({ message_id, topic, handler }: ProcessedMessage) {
  return {
    'messaging.system': 'forumbus',
    'messaging.operation.type': 'process',
    'messaging.operation.name': 'process',
    'messaging.destination.name': topic,
    'messaging.message.id': message_id,
    // Each gets every message of the topic.
    'messaging.consumer.group.name': handler,
  };
}

function withParent(base: Context, traceparent: string | null): Context {
  if (traceparent === null) return base;
  const [, traceId = '', spanId = '', flags = ''] = traceparent.split('-');
  return trace.setSpanContext(base, { traceId, spanId, traceFlags: Number.parseInt(flags, 16), isRemote: true });
}

function partOf(span: Span, parent: Context, incoming: string | null): TracePart {
  const inside = trace.setSpan(parent, span);
  // A provider may leave spans out altogether; the trace must not end there.
  const own = span.spanContext();
  return {
    traceparent: isSpanContextValid(own) ? traceparentOf(own) : incoming,
    run: work => context.with(inside, work),
  };
}

function traceparentOf({ traceId, spanId, traceFlags }: SpanContext): string {
  return `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, '0')}`;
}
