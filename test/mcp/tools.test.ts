import type { Client } from '@modelcontextprotocol/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { called, connected, questionOf } from '../helpers/mcp.ts';

/** Characters of a token, as models count on the average. */
const TOKEN = 4;

describe('what the tools cost a model', () => {
  let service: TestApp;
  let agent: Client;
  let operator: Client;
  beforeAll(async () => {
    service = await startApp('sqlite');
    const origin = await service.app.listen({ port: 0, host: '127.0.0.1' });
    const atEnd = () => {};
    agent = await connected(`${origin}/mcp?run=run-1&agent=builder`, '2026-07-28', {}, atEnd);
    operator = await connected(`${origin}/mcp`, '2026-07-28', {}, atEnd);
  });
  afterAll(async () => {
    await Promise.all([agent.close(), operator.close()]);
    await service.close();
  });

  const toolsOf = async (client: Client) => (await client.listTools()).tools;

  it('is at most 2,000 tokens for all tools together, always in one order', async () => {
    const lists = [await toolsOf(agent), await toolsOf(operator)];
    const size = JSON.stringify(lists.flat()).length / TOKEN;
    expect(size).toBeLessThan(2000);
    expect([await toolsOf(agent), await toolsOf(operator)]).toEqual(lists);
  });

  it('is at most 600 characters for a description, and 2 KB for the instructions', async () => {
    for (const client of [agent, operator]) {
      for (const { name, description = '' } of await toolsOf(client))
        expect(description.length, name).toBeLessThan(600);
      expect(Buffer.byteLength(client.getInstructions() ?? '')).toBeLessThan(2048);
      expect(client.getInstructions()).toMatch(/^Forumbus/);
    }
  });

  it('is at most 40 tokens for an answer, and for the questions that are still open 60', async () => {
    const pending = await called(agent, 'ask', { question: 'Which region?', options: ['eu', 'us'], wait_seconds: 0 });
    expect(pending.text.length / TOKEN).toBeLessThan(60);
    await called(operator, 'answer', { question_id: questionOf(pending), selected: ['eu'] });
    const { text } = await called(agent, 'ask', { question: 'Which region?', options: ['eu', 'us'] });
    expect(text.length / TOKEN).toBeLessThan(40);
  });

  it('asks nobody for leave, and is seen from the start where questions begin', async () => {
    for (const tool of [...(await toolsOf(agent)), ...(await toolsOf(operator))]) {
      expect(tool.annotations).toMatchObject({ destructiveHint: false, openWorldHint: false });
      expect(tool._meta?.['anthropic/alwaysLoad']).toBe(tool.name === 'ask' ? true : undefined);
      // Keywords of our own validator mean nothing to others.
      expect(JSON.stringify(tool.inputSchema)).not.toMatch(/"x-|"\$ref|"pattern"/);
    }
    expect(agent.getServerCapabilities()).toEqual({ tools: {} });
  });
});
