import type { TSchema } from 'typebox';
import * as access from './access/schemas.ts';
import { Actor } from './actor.ts';
import * as audit from './audit/schemas.ts';
import * as control from './control/schemas.ts';
import { AnyEvent, eventSchemas } from './events/event-types.ts';
import * as events from './events/schemas.ts';
import * as health from './health/schemas.ts';
import * as hooks from './hooks/schemas.ts';
import { Problem } from './http/problems.ts';
import * as inbox from './inbox/schemas.ts';
import * as lifecycle from './lifecycle/schemas.ts';
import * as outbox from './outbox/schemas.ts';
import * as page from './page/schemas.ts';
import * as questions from './questions/schemas.ts';
import * as runs from './runs/schemas.ts';
import * as signals from './signals/schemas.ts';
import * as signalsV1 from './signals/v1.ts';
import * as stats from './stats/schemas.ts';
import * as subscriptions from './subscriptions/schemas.ts';
import * as threads from './threads/schemas.ts';
import * as webhooks from './webhooks/schemas.ts';
import * as worker from './worker/schemas.ts';

/** All named schemas, for validators and serializers. */
export const components: TSchema[] = [
  Actor,
  Problem,
  ...[
    [events],
    [threads],
    [control],
    [questions],
    [inbox],
    [hooks],
    [signals, signalsV1],
    [runs, lifecycle],
    [stats],
    [outbox],
    [health, worker, subscriptions],
    [webhooks],
    [access],
    [audit],
    [page],
  ].flatMap(namedSchemas),
];

/** The named schemas of the OpenAPI document: there, an event is of one of its types. */
export const documented: TSchema[] = components.flatMap(component =>
  component === events.Event ? [AnyEvent, ...eventSchemas] : [component],
);

/** By name: the document lists them in this order. */
function namedSchemas(modules: Record<string, unknown>[]): TSchema[] {
  const byName = Object.entries(Object.assign({}, ...modules) as Record<string, unknown>).sort(([a], [b]) =>
    a < b ? -1 : 1,
  );
  return byName
    .map(([, schema]) => schema)
    .filter((schema): schema is TSchema => typeof schema === 'object' && schema !== null && '$id' in schema);
}
