import type { Event } from '../events/schemas.ts';

export const CLOUD_EVENT_TYPE = 'application/cloudevents+json; charset=utf-8';

/**
 * The body of a webhook: an event in the JSON format of CloudEvents 1.0.
 * @param answerUrl where its question can be answered
 */
export function cloudEvent(event: Event, answerUrl: string | undefined): string {
  const { event_id, event_type, occurred_at, thread_id, run_id, sequence } = event;
  const subject = thread_id ?? run_id;
  return JSON.stringify({
    specversion: '1.0',
    id: event_id,
    source: 'urn:forumbus',
    type: event_type,
    time: occurred_at,
    ...(subject !== null && { subject }),
    datacontenttype: 'application/json',
    // A string, as the extension of CloudEvents has it.
    sequence: String(sequence),
    ...(answerUrl !== undefined && { answerurl: answerUrl }),
    data: event,
  });
}

/** The body of a ping, which is no event of the log. */
export function pingEvent(name: string, event_id: string, at: string): string {
  const head = { specversion: '1.0', id: event_id, source: 'urn:forumbus', type: 'forum.webhook.ping', time: at };
  return JSON.stringify({ ...head, datacontenttype: 'application/json', data: { webhook: name } });
}
