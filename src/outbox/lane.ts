/**
 * The lane of a message. Messages of one key share a lane; so do, apart from them, those of one key that are for one
 * consumer. The first character keeps the two kinds from meeting, whatever the key is.
 */
export function laneOf(message_key: string | null, consumer: string | null): string | null {
  if (message_key === null) return null;
  return consumer === null ? `=${message_key}` : `@${JSON.stringify([consumer, message_key])}`;
}

/** The message key of a lane. */
export function keyOf(lane: string): string {
  return lane.startsWith('=') ? lane.slice(1) : JSON.parse(lane.slice(1))[1];
}

/** What a parked message waits for; neither topics nor the words before them contain a colon. */
export const parking = {
  handler: (topic: string, consumer: string | null) => `handler:${topic}${consumer === null ? '' : `:${consumer}`}`,
  resume: (topic: string) => `resume:${topic}`,
  parse(parked: string): { waitsFor: 'handler' | 'resume'; topic: string; consumer: string | null } {
    const [waitsFor, topic = '', ...consumer] = parked.split(':');
    return {
      waitsFor: waitsFor as 'handler' | 'resume',
      topic,
      consumer: consumer.length > 0 ? consumer.join(':') : null,
    };
  },
};
