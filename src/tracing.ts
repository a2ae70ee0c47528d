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

/** The place of a request, or of one attempt of a handler, in a trace. */
export interface TracePart {
  /** The parent for further parts of the trace (W3C Trace Context); null outside of a trace. */
  readonly traceparent: string | null;
  /** Runs `work` with the OpenTelemetry context of this part active. */
  run<T>(work: () => T): T;
}

interface ServedRequest {
  method: string;
  /** The pattern of the route, such as `/runs/:run_id`; undefined if no route matches. */
  route: string | undefined;
  path: string;
  scheme: string;
}

interface ProcessedMessage {
  message_id: string;
  topic: string;
  handler: string;
}

/** Records spans with a registered OpenTelemetry SDK. */
export interface Tracing {
  /** Begins the span of a request. `end` takes the HTTP status of the answer; undefined if none was sent. */
  request(request: ServedRequest, traceparent: string | null): TracePart & { end(status: number | undefined): void };
  /** Runs one attempt to handle a message in its own span, which ends when the attempt returns or its promise settles. */
  process<T>(message: ProcessedMessage, traceparent: string | null, attempt: (part: TracePart) => T): T;
}

const HEADER = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;

/**
 * Parses a `traceparent` header (W3C Trace Context, 3.2 and 4). A later version is reduced to the fields of version 00.
 * @returns the header in the form of version 00; null if it is malformed
 */
export function readTraceparent(header: string): string | null {
  const [, version, traceId = '', spanId = '', flags = '', more] = HEADER.exec(header) ?? [];
  if (version === undefined || version === 'ff' || (version === '00' && more !== undefined)) return null;
  // Ids of zeros only are invalid.
  if (!isSpanContextValid({ traceId, spanId, traceFlags: 0 })) return null;
  return version === '00' ? header : `00-${traceId}-${spanId}-0${Number.parseInt(flags, 16) & 1}`;
}

/** A trace part that records nothing and forwards its traceparent unchanged. */
export function passThrough(traceparent: string | null): TracePart {
  return { traceparent, run };
}

const run = <T>(work: () => T): T => work();

/** The trace id of a traceparent, for log lines. */
export function traceIdOf(traceparent: string): string {
  return traceparent.slice(3, 35);
}

/** Undefined if no OpenTelemetry SDK is registered: then nothing is recorded, and traceparents only pass through. */
export function createTracing(): Tracing | undefined {
  const tracer = trace.getTracer('forumbus');
  // The API answers its own ProxyTracer until a provider is registered; an SDK never answers one.
  return tracer instanceof ProxyTracer ? undefined : createRecorder(tracer);
}

function createRecorder(tracer: Tracer): Tracing {
  return {
    request({ method, route, path, scheme }, traceparent) {
      const active = context.active();
      // HTTP instrumentation may have begun a span already, from headers that it understands.
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
      // Not the active context: the worker may run in that of an unrelated request which woke it.
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
    // Each handler gets every message of its topic.
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
  // A provider may drop spans; the trace must continue behind them.
  const own = span.spanContext();
  return {
    traceparent: isSpanContextValid(own) ? traceparentOf(own) : incoming,
    run: work => context.with(inside, work),
  };
}

function traceparentOf({ traceId, spanId, traceFlags }: SpanContext): string {
  return `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, '0')}`;
}
