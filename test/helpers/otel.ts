import { AsyncLocalStorage } from 'node:async_hooks';
import { randomBytes } from 'node:crypto';
import {
  type Attributes,
  type Context,
  type ContextManager,
  context,
  INVALID_SPAN_CONTEXT,
  ROOT_CONTEXT,
  type Span,
  type SpanContext,
  SpanKind,
  type SpanOptions,
  type SpanStatus,
  SpanStatusCode,
  type Tracer,
  trace,
} from '@opentelemetry/api';

/** A span as an exporter would get it. */
export interface EndedSpan {
  name: string;
  kind: string;
  trace_id: string;
  span_id: string;
  /** The span id of its parent. */
  parent: string | undefined;
  attributes: Attributes;
  status: SpanStatus;
  exceptions: unknown[];
}

/** What becomes of spans: recorded; only counted out, as samplers do; or never made at all. */
export type Recording = 'all' | 'unsampled' | 'none';

/** The least that an SDK is made of, over the API's own interfaces. `ended` gets every span that is recorded. */
export function registerSdk(ended: (span: EndedSpan) => void, recording: () => Recording = () => 'all'): void {
  context.setGlobalContextManager(new LocalContexts());
  trace.setGlobalTracerProvider({ getTracer: () => tracer(ended, recording) });
}

export function unregisterSdk(): void {
  trace.disable();
  context.disable();
}

function tracer(ended: (span: EndedSpan) => void, recording: () => Recording): Tracer {
  const startSpan = (name: string, options: SpanOptions = {}, parent: Context = context.active()): Span => {
    if (recording() === 'none') return trace.wrapSpanContext(INVALID_SPAN_CONTEXT);
    const above = trace.getSpanContext(parent);
    const own: SpanContext = {
      traceId: above?.traceId ?? randomBytes(16).toString('hex'),
      spanId: randomBytes(8).toString('hex'),
      traceFlags: recording() === 'all' ? 1 : 0,
    };
    return recording() === 'all' ? new RecordedSpan(name, options, own, above, ended) : trace.wrapSpanContext(own);
  };
  return {
    startSpan,
    startActiveSpan() {
      throw new Error('Not of use here.');
    },
  };
}

class RecordedSpan implements Span {
  readonly #own: SpanContext;
  readonly #made: EndedSpan;
  readonly #ended: (span: EndedSpan) => void;
  #over = false;

  constructor(
    name: string,
    { kind = SpanKind.INTERNAL, attributes = {} }: SpanOptions,
    own: SpanContext,
    above: SpanContext | undefined,
    ended: (span: EndedSpan) => void,
  ) {
    const ids = { trace_id: own.traceId, span_id: own.spanId, parent: above?.spanId };
    const status = { code: SpanStatusCode.UNSET };
    this.#made = { name, kind: SpanKind[kind], ...ids, attributes: { ...attributes }, status, exceptions: [] };
    this.#own = own;
    this.#ended = ended;
  }

  spanContext(): SpanContext {
    return this.#own;
  }

  setAttribute(key: string, value: Attributes[string]): this {
    this.#made.attributes[key] = value;
    return this;
  }

  setAttributes(attributes: Attributes): this {
    Object.assign(this.#made.attributes, attributes);
    return this;
  }

  setStatus(status: SpanStatus): this {
    this.#made.status = status;
    return this;
  }

  recordException(exception: unknown): void {
    this.#made.exceptions.push(exception);
  }

  end(): void {
    if (this.#over) throw new Error(`The span ${this.#made.name} has ended before.`);
    this.#over = true;
    this.#ended(this.#made);
  }

  isRecording(): boolean {
    return !this.#over;
  }

  addEvent(): this {
    return this;
  }

  addLink(): this {
    return this;
  }

  addLinks(): this {
    return this;
  }

  updateName(name: string): this {
    this.#made.name = name;
    return this;
  }
}

class LocalContexts implements ContextManager {
  readonly #storage = new AsyncLocalStorage<Context>();

  active(): Context {
    return this.#storage.getStore() ?? ROOT_CONTEXT;
  }

  with<A extends unknown[], F extends (...args: A) => ReturnType<F>>(
    active: Context,
    work: F,
    thisArg?: ThisParameterType<F>,
    ...args: A
  ): ReturnType<F> {
    return this.#storage.run(active, () => work.apply(thisArg, args));
  }

  bind<T>(_context: Context, target: T): T {
    return target;
  }

  enable(): this {
    return this;
  }

  disable(): this {
    this.#storage.disable();
    return this;
  }
}
