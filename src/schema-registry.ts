import type { TSchema } from 'typebox';
import * as access from './access/schemas.ts';
import { Actor } from './actor.ts';
import * as control from './control/schemas.ts';
import { AnyEvent, eventSchemas } from './events/event-types.ts';
import * as events from './events/schemas.ts';
import * as health from './health/schemas.ts';
import * as hooks from './hooks/schemas.ts';
import type { Examples } from './http/openapi-document.ts';
import { Problem } from './http/problems.ts';
import * as inbox from './inbox/schemas.ts';
import * as lifecycle from './lifecycle/schemas.ts';
import examples from './openapi-examples.json' with { type: 'json' };
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
    [page],
  ].flatMap(namedSchemas),
];

/** The named schemas of the OpenAPI document: there, an event is of one of its types. */
export const documented: TSchema[] = components.flatMap(component =>
  component === events.Event ? [AnyEvent, ...eventSchemas] : [component],
);

/** What a running service has answered; `npm run openapi` records it. */
export const documentedExamples: Examples = examples;

/** The requests that webhooks send, for the document. */
export const documentedWebhooks = {
  event: {
    post: {
      operationId: 'receiveEvent',
      summary: 'An event, signed as Standard Webhooks says',
      description:
        'Check the signature with the secret of the webhook before you read the body. Each event comes at least once: ' +
        'drop a `webhook-id` that has come before. The events of a thread come in order.',
      tags: ['webhooks'],
      security: [{}],
      parameters: [
        webhookHeader('webhook-id', 'The same at each attempt and each replay.'),
        webhookHeader('webhook-timestamp', 'Time of the attempt, in seconds since 1970.'),
        webhookHeader(
          'webhook-signature',
          '`v1,` and a signature in base64, one for each secret, separated by spaces.',
        ),
      ],
      requestBody: {
        required: true,
        content: {
          'application/cloudevents+json': {
            schema: { $ref: '#/components/schemas/CloudEvent' },
            example: documentedExamples.webhook,
          },
        },
      },
      responses: {
        '2XX': { description: 'The event was taken.' },
        410: { description: 'The webhook is to be disabled.' },
        default: { description: 'The event is sent again later.' },
      },
    },
  },
};

function webhookHeader(name: string, description: string) {
  return { name, in: 'header', required: true, description, schema: { type: 'string' } };
}

/** By name: the document lists them in this order. */
function namedSchemas(modules: Record<string, unknown>[]): TSchema[] {
  const byName = Object.entries(Object.assign({}, ...modules) as Record<string, unknown>).sort(([a], [b]) =>
    a < b ? -1 : 1,
  );
  return byName
    .map(([, schema]) => schema)
    .filter((schema): schema is TSchema => typeof schema === 'object' && schema !== null && '$id' in schema);
}
