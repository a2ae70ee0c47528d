import { join } from 'node:path';
import { Command, END, interrupt, MemorySaver, START, StateGraph, StateSchema } from '@langchain/langgraph';
import type { Client } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { run as runAgent } from '@openai/agents';
import { generateText } from 'ai';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { z } from 'zod';
import { toolApproval } from '../../src/adapters/ai-sdk.ts';
import { answerInterrupts } from '../../src/adapters/langgraph.ts';
import { decideInterruptions } from '../../src/adapters/openai-agents.ts';
import { Forumbus } from '../../src/client/index.ts';
import { deployTool, scriptedModel } from '../helpers/ai-sdk.ts';
import { callingTool } from '../helpers/claude-agent-sdk.ts';
import { cliMain, spawnCli } from '../helpers/cli.ts';
import { called, connected, clientOf as mcpClientOf, revisions } from '../helpers/mcp.ts';
import { scriptedAgent } from '../helpers/openai-agents.ts';
import { forThisTest, startService } from '../helpers/process.ts';
import { scratchFolder } from '../helpers/scratch.ts';

/*
 * The whole story of an agent, through each of its surfaces: it asks, is told something unasked, gets its answer, completes,
 * is validated, and the gate opens. The operator is the same each time, and so is the end.
 */

const question = 'Which region?';
const options = ['eu-west-1', 'us-east-1'];
const criteria = 'Tests are green.';
const message = 'The freeze begins at noon.';
const completion = { summary: 'Deployed.', evidence: [{ kind: 'commit', ref: '4f2a91c' }] };

interface Place {
  url: string;
  run_id: string;
  folder: string;
}

/** What the agent has heard on its way. */
interface Heard {
  /** The answer to its question; where it asked whether it may deploy to a region, what came of that. */
  answer: string;
  news: string;
  /** What blocks the gate once the agent has completed, and once it has been validated. */
  gate: [completed: unknown, validated: unknown];
}

type Surface = (place: Place) => Promise<Heard>;

const agentOf = ({ url, run_id }: Omit<Place, 'folder'>) => new Forumbus({ url, run_id, agent_name: 'builder' });
const namesOf = ({ url, run_id, folder }: Place) => ({
  FORUMBUS_URL: url,
  FORUMBUS_RUN: run_id,
  FORUMBUS_AGENT: 'builder',
  XDG_STATE_HOME: join(folder, 'state'),
});

/** The story of a program that asks in its own way, and does the rest by the client library. */
const program =
  (ask: (agent: Forumbus, place: Place) => Promise<string>): Surface =>
  async place => {
    const agent = agentOf(place);
    const answer = await ask(agent, place);
    await agent.inbox.list({ wait_seconds: 20 });
    const items = await agent.inbox.claim({ claimant: 'story', lease_seconds: 60, limit: 20 });
    await agent.inbox.acknowledge(items.map(({ item_id }) => item_id));
    const news = items.flatMap(({ post }) => post?.body ?? []).join();
    await agent.signal.completion(completion);
    const { ready: completed } = await agent.gate(place.run_id);
    await agent.signal.validation({ status: 'passed', done_criteria: criteria });
    const { ready: validated } = await agent.gate(place.run_id);
    return { answer, news, gate: [completed, validated] };
  };

/** The story of a model with nothing but the tools of the MCP server. */
const tools =
  (connect: (place: Place) => Promise<Client>): Surface =>
  async place => {
    const client = await connect(place);
    const tell = async (name: string, args = {}) => {
      const { text, isError } = await called(client, name, args);
      expect(isError, text).toBe(false);
      return text;
    };
    const said = await tell('ask', { question, options });
    expect(said).toMatch(/\nYou have other news: call wait without question_id\.$/);
    const answer = /^Answered by \w+: (.+)/.exec(said)?.[1] ?? said;
    const news = await tell('wait');
    await tell('signal', { type: 'completion', summary: completion.summary, evidence: ['commit:4f2a91c'] });
    const completed = (await tell('status')).includes('Gate: ready');
    await tell('signal', { type: 'validation', status: 'passed', done_criteria: criteria });
    const validated = (await tell('status')).includes('Gate: ready');
    return { answer, news, gate: [completed, validated] };
  };

const mcpUrl = ({ url, run_id }: Place) => `${url}/mcp?${new URLSearchParams({ run: run_id, agent: 'builder' })}`;

const surfaces: Record<string, Surface> = {
  async 'bash and the command line'(place) {
    const script = `set -e
      answer=$("$@" ask "${question}" -o ${options.join(' -o ')} --wait 60s)
      news=$("$@" inbox --wait 20s)
      "$@" complete "Deployed." --evidence commit:4f2a91c > /dev/null
      completed=$("$@" gate > /dev/null && echo true || echo false)
      "$@" validate passed --criteria "${criteria}" > /dev/null
      validated=$("$@" gate > /dev/null && echo true || echo false)
      printf '%s\\n' "$answer" "$completed" "$validated" "$news"`;
    // Its stdin is a socket, as a remote shell's, for which bash reads the files of the user.
    const bash = ['bash', '--norc', '-c', script, 'bash', process.execPath, cliMain];
    const { code, out, err } = await spawnCli([], { env: namesOf(place), cwd: place.folder }, bash).ended;
    expect({ code, err }).toEqual({ code: 0, err: '' });
    const [answer = '', completed, validated, ...news] = out.split('\n');
    return { answer, news: news.join('\n'), gate: [completed === 'true', validated === 'true'] };
  },

  'the client library': program(async agent => (await agent.ask({ question, options })).answer ?? ''),

  ...Object.fromEntries(
    revisions.map(revision => [
      `an MCP client of revision ${revision}`,
      tools(place => connected(mcpUrl(place), revision)),
    ]),
  ),

  'an MCP client over stdio': tools(async place => {
    const client = mcpClientOf('2025-11-25');
    await client.connect(
      new StdioClientTransport({ command: process.execPath, args: [cliMain, 'mcp'], env: namesOf(place) }),
    );
    onTestFinished(() => client.close());
    return client;
  }),

  'the adapter of the Claude Agent SDK': program(async agent => {
    const choices = options.map(label => ({ label, description: '' }));
    const input = { questions: [{ question, header: 'Region', multiSelect: false, options: choices }] };
    const call = { tool_name: 'AskUserQuestion', input, tool_use_id: 'toolu-1' };
    return (await callingTool(agent, call).heard).updatedInput.answers[question];
  }),

  'the adapter of the AI SDK': program(async agent => {
    const { model, heard } = scriptedModel(['eu-west-1']);
    const deployed: string[] = [];
    await generateText({
      model,
      prompt: 'Deploy.',
      tools: { deploy: deployTool(deployed) },
      toolApproval: toolApproval(agent),
      stopWhen: ({ steps }) => steps.length === 2,
    });
    expect(heard).toEqual([{ type: 'text', value: expect.any(String) }]);
    return deployed.join();
  }),

  'the adapter of LangGraph': program(async (agent, { run_id }) => {
    const graph = new StateGraph(new StateSchema({ answer: z.string().optional() }))
      .addNode('ask', () => ({ answer: interrupt({ question, options }) as string }))
      .addEdge(START, 'ask')
      .addEdge('ask', END)
      .compile({ checkpointer: new MemorySaver() });
    const thread = { configurable: { thread_id: run_id } };
    await graph.invoke({}, thread);
    const interrupts = (await graph.getState(thread)).tasks.flatMap(task => task.interrupts);
    const resume = await answerInterrupts(agent, interrupts);
    return (await graph.invoke(new Command({ resume }), thread)).answer ?? '';
  }),

  'the adapter of OpenAI Agents': program(async client => {
    const { agent, deployed } = scriptedAgent(['eu-west-1']);
    const { state } = await runAgent(agent, 'Deploy.');
    expect(await decideInterruptions(client, state)).toBe(true);
    expect((await runAgent(agent, state)).finalOutput).toBe('eu-west-1 is deployed');
    return deployed.join();
  }),
};

/** Speaks first and takes the first option then. */
async function operate(operator: Forumbus, service: Service, run_id: string): Promise<void> {
  const open = async () => (await operator.questions({ run_id, state: 'open' })).items;
  // A process of the command line takes seconds to start.
  await expect.poll(open, { timeout: 60_000 }).toHaveLength(1);
  const [asked] = await open();
  const post = { body: message, actor: { type: 'operator', name: 'ana' } };
  expect((await service.send('POST', `/threads/${asked?.thread_id}/posts`, post)).status).toBe(201);
  expect(await operator.gate(run_id)).toMatchObject({ ready: false });
  await operator.answer(asked?.question_id as string, { selected: [asked?.options[0]?.label as string] });
}

type Service = Awaited<ReturnType<typeof startService>>;

describe('an agent goes its whole way', () => {
  const ends: (() => void | Promise<void>)[] = [];
  let folder: string;
  let service: Service;
  beforeAll(async () => {
    const atEnd = (end: () => void | Promise<void>) => void ends.push(end);
    ({ path: folder } = await forThisTest(scratchFolder(), atEnd));
    service = await startService({ DATABASE_URL: `sqlite:${join(folder, 'forumbus.db')}` }, {}, atEnd);
  });
  afterAll(async () => {
    for (const end of ends.reverse()) await end();
  });

  it.each(Object.entries(surfaces))('by %s', async (name, surface) => {
    const place = { url: await service.listening(), run_id: `run of ${name}`, folder };
    const { url, run_id } = place;
    const brief = { title: 'Deploy', done_criteria: criteria, agents: ['builder'] };
    const briefed = await service.send('PUT', `/runs/${encodeURIComponent(run_id)}`, brief);
    expect(briefed.status, JSON.stringify(briefed.body)).toBeLessThan(300);
    const operator = new Forumbus({ url });
    const [heard] = await Promise.all([surface(place), operate(operator, service, run_id)]);
    expect(heard).toEqual({ answer: 'eu-west-1', news: expect.stringContaining(message), gate: [false, true] });
    // Nothing is told twice. A tool acknowledges once its result has left.
    await expect.poll(async () => (await agentOf(place).inbox.list()).items).toEqual([]);
    const { items } = await operator.questions({ run_id });
    expect(items).toMatchObject([{ state: 'answered', acknowledged_at: expect.any(String) }]);
    expect(await operator.status({ run_id, agent_name: 'builder' })).toMatchObject({ completion });
    expect(await operator.close(run_id)).toMatchObject({ status: 'closed' });
  });
});
