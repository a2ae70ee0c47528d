import { randomBytes } from 'node:crypto';

/** A traceparent of a trace of its own. */
export function newTraceparent(): string {
  return `00-${randomBytes(16).toString('hex')}-${randomBytes(8).toString('hex')}-01`;
}

/** The ids of the trace and of the span that a traceparent names. */
export function idsOf(traceparent: string): { trace_id: string; span_id: string } {
  const [, trace_id = '', span_id = ''] = traceparent.split('-');
  return { trace_id, span_id };
}
