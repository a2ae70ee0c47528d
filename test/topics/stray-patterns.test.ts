import { describe, expect, it } from 'vitest';
import { eventTopic } from '../../src/events/envelope.ts';
import { eventTypes } from '../../src/events/event-types.ts';
import { commandNames, commandTopic } from '../../src/topics/command.ts';
import { strayPatterns } from '../../src/topics/stray-patterns.ts';
import type { Handler } from '../../src/worker/handler.ts';

const strays = (...topics: string[]) => strayPatterns([{ name: 'x.ts', topics } as unknown as Handler]);

describe('a pattern that no message can match', () => {
  it.each([
    ['forum.events.question.opend', 'forum.events.question.opened'],
    ['forum.events.qestion.*', 'forum.events.question.opened'],
    ['forum.evnts.**', 'forum.events.thread.opened'],
    ['forum.events.question', 'forum.events.question.opened'],
    ['forum.question.opened', 'forum.events.question.opened'],
    ['forum.commands.nope', undefined],
    ['forum.commands.add-post', 'forum.commands.add_post'],
    ['forum.command.add_post', 'forum.commands.add_post'],
    ['forum.integrations.chat', undefined],
    ['Forum.events.question.opened', 'forum.events.question.opened'],
    ['fourm.events.**', 'forum.events.thread.opened'],
    ['forum', undefined],
  ])('%s is found, with the nearest topic', (pattern, nearest = expect.any(String)) => {
    expect(strays('forum.events.**', pattern)).toEqual([{ handler: 'x.ts', pattern, nearest }]);
  });

  it.each([
    ...eventTypes.map(eventTopic),
    ...commandNames.map(commandTopic),
    ...['**', '*', '*.events.**', 'forum.**', 'forum.*.*', 'forum.*.chat', 'forum.events.**', 'forum.events.*'],
    ...['forum.integration.chat', 'forum.integration.**', 'builds.finished', 'deploy.*'],
  ])('%s is none', pattern => {
    expect(strays(pattern)).toEqual([]);
  });
});
