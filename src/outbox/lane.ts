/**
 * The lane of a message: `=key` for a published message, `@["consumer","key"]` for a consumer's copy. The first
 * character keeps the two kinds apart for every key. Null without a key: such messages are unordered.
 */
export function laneOf(message_key: string | null, consumer: string | null): string | null {
  if (message_key === null) return null;
  return consumer === null ? `=${message_key}` : `@${JSON.stringify([consumer, message_key])}`;
}

/** The message key of a lane. */
export function keyOf(lane: string): string {
  return lane.startsWith('=') ? lane.slice(1) : JSON.parse(lane.slice(1))[1];
}

/**
 * The reason why a message is parked, as stored: `handler:<topic>[:<consumer>]` or `resume:<topic>`. Topics contain no
 * colon, so the first two parts are unambiguous.
 */
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
