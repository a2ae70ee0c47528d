import type { Stage } from './stage.ts';

/** The handshake of revisions before 2026-07-28, or that revision alone. */
export type Era = 'legacy' | 'modern';

/** How the inspector reaches the MCP server: its arguments for that. */
export type Way = readonly string[];

export type Args = Record<string, string | number | string[]>;

/** What a result says. */
export interface Outcome {
  text: string;
  /** The question that it is about, for programs. */
  question?: { question_id: string; state: string };
}

/** Exit codes of the inspector. */
const [DONE, TOOL_ERROR] = [0, 5];

/** Over Streamable HTTP. The inspector may not log in by a browser: there is none. */
export function http(url: string, token?: string): Way {
  const header = token === undefined ? [] : ['--header', `Authorization: Bearer ${token}`];
  return [url, '--transport', 'http', '--stored-auth-only', ...header];
}

/** By the bridge, for which the environment names what a URL names elsewhere. */
export function stdio(env: Record<string, string>): Way {
  const pairs = Object.entries(env).flatMap(([name, value]) => ['-e', `${name}=${value}`]);
  return ['forumbus', 'mcp', '--transport', 'stdio', ...pairs];
}

/**
 * The MCP server as one caller sees it through the inspector's command line. Each call is a process and a connection of its
 * own. The inspector makes arguments from the types in the tool's schema, as it does for a person.
 */
export class Inspected {
  readonly #stage: Stage;
  readonly #way: Way;
  readonly #era: Era;
  readonly #called = new Set<string>();

  constructor(stage: Stage, way: Way, era: Era) {
    this.#stage = stage;
    this.#way = way;
    this.#era = era;
  }

  /** Calls a tool. @throws Error if the inspector finds a fault, or the result has another form than all results */
  async call(tool: string, args: Args = {}): Promise<Outcome> {
    const { isError, ...result } = await this.#result(['tools/call', ...toolArgs(tool, args)], DONE);
    this.#called.add(tool);
    return outcomeOf(result, this.#era);
  }

  /** Calls a tool in vain. @throws Error if the call is not refused by a result with `isError` */
  async refused(tool: string, args: Args): Promise<Outcome> {
    const { isError, ...result } = await this.#result(['tools/call', ...toolArgs(tool, args)], TOOL_ERROR);
    if (isError !== true) throw new Error(`${tool} is refused without isError: ${JSON.stringify(result)}`);
    return outcomeOf(result, this.#era);
  }

  /** Checks that every tool of the list has been called. */
  async assertAllCalled(): Promise<void> {
    // A schema that other clients would refuse fails here.
    const tools = await this.#list('tools/list', 'tools', '--strict');
    const left = tools.map(({ name }) => name).filter(name => !this.#called.has(name));
    if (tools.length === 0 || left.length > 0) {
      throw new Error(`The server lists ${tools.length} tools; not called: ${left.join(', ')}.`);
    }
    // A result would follow it in `structuredContent`, which no result has.
    const structured = tools.filter(({ outputSchema }) => outputSchema !== undefined);
    refuse('tools with an output schema', structured);
  }

  /** Checks that the server has nothing but tools: what else it lists, nothing here would try. */
  async assertToolsOnly(): Promise<void> {
    refuse('resources', await this.#list('resources/list', 'resources'));
    refuse('templates of resources', await this.#list('resources/templates/list', 'resourceTemplates'));
    refuse('prompts', await this.#list('prompts/list', 'prompts'));
  }

  /** Runs a method that no tool is reached by. @returns what the inspector says */
  async fault(method: string): Promise<string> {
    const { code, err } = await this.#run([method]);
    if (code === DONE) throw new Error(`The inspector finds no fault in ${method}.`);
    return err;
  }

  async #list(method: string, field: string, ...more: string[]): Promise<{ name: string; outputSchema?: object }[]> {
    const { [field]: items } = await this.#result([method, ...more], DONE);
    if (!Array.isArray(items)) throw new Error(`${method} has no ${field}.`);
    return items;
  }

  async #result(method: string[], expected: number): Promise<Record<string, unknown>> {
    const { code, out, err } = await this.#run(method);
    if (code !== expected) throw new Error(`The inspector ends ${method.join(' ')} with ${code}: ${out}${err}`);
    return JSON.parse(out).result;
  }

  #run(method: string[]) {
    const era = ['--protocol-era', this.#era, '--format', 'json'];
    return this.#stage.print(['--cli', ...this.#way, ...era, '--method', ...method]).ended;
  }
}

function refuse(what: string, found: { name: string }[]): void {
  if (found.length > 0) throw new Error(`The server has ${what}: ${found.map(({ name }) => name).join(', ')}.`);
}

function toolArgs(tool: string, args: Args): string[] {
  const pairs = Object.entries(args).map(
    ([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
  );
  return ['--tool-name', tool, ...pairs.flatMap(pair => ['--tool-arg', pair])];
}

interface Result {
  content?: { type: string; text: string }[];
  _meta?: { 'io.modelcontextprotocol/serverInfo'?: object; 'forumbus/question'?: Required<Outcome>['question'] };
}

/** @throws Error unless a result is one text, beside ids in `_meta` */
function outcomeOf(result: Result, era: Era): Outcome {
  const { content: [first, ...more] = [], _meta = {}, ...rest } = result;
  const { 'io.modelcontextprotocol/serverInfo': server, 'forumbus/question': question, ...meta } = _meta;
  // Since revision 2026-07-28, each result names the server.
  const isOfEra = (server !== undefined) === (era === 'modern');
  const surplus = [...more, ...Object.keys({ ...rest, ...meta })];
  if (first?.type !== 'text' || first.text === '' || surplus.length > 0 || !isOfEra) {
    throw new Error(`The result is not one text as all results are (${era}): ${JSON.stringify(result)}`);
  }
  const { text } = first;
  return question ? { text, question: { question_id: question.question_id, state: question.state } } : { text };
}
