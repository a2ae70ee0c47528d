import type { Examples } from './complete.ts';

/** The requests that webhooks send. */
export const webhooksOf = ({ webhook }: Examples) => ({
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
            example: webhook,
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
});

function webhookHeader(name: string, description: string) {
  return { name, in: 'header', required: true, description, schema: { type: 'string' } };
}
