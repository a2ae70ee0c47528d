import { Forumbus, isPassing } from '../../src/client/index.ts';

/** Questions that are being asked at the same time. */
const AT_ONCE = 20;

export interface WaitingFigures {
  /** Requests that were sent since the agents began to wait. */
  requests: number;
  /** Waits that the service could not answer in time; the agent waits again. */
  lost: number;
  /** Agents that have their answer. */
  answered: number;
}

interface Setup {
  url: string;
  run_id: string;
  /** The numbers of the agents. */
  from: number;
  count: number;
}

interface Agent {
  client: Forumbus;
  question_id: string;
}

/** Agents that ask one question each by the client library, and wait for its answer. */
export class WaitingAgents {
  readonly figures: WaitingFigures = { requests: 0, lost: 0, answered: 0 };
  /** Seconds after which an agent stops to wait, and begins again. */
  limit = 1;
  readonly #agents: Agent[] = [];
  readonly #setup: Setup;

  constructor(setup: Setup) {
    this.#setup = setup;
  }

  /** Resolves once all have asked. */
  async ask(): Promise<void> {
    const { url, run_id, from, count } = this.#setup;
    const counting: typeof fetch = (...args) => {
      this.figures.requests += 1;
      return fetch(...args);
    };
    const numbers = Array.from({ length: count }, (_, index) => from + index);
    const asker = async () => {
      for (let number = numbers.shift(); number !== undefined; number = numbers.shift()) {
        const client = new Forumbus({ url, run_id, agent_name: `agent-${number}`, fetch: counting });
        const { question_id } = await client.ask({ question: 'Which region?' }, { wait_seconds: 0 });
        this.#agents.push({ client, question_id });
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, asker));
    this.figures.requests = 0;
  }

  /** Resolves once all have their answers. */
  async wait(): Promise<void> {
    const waiter = async ({ client, question_id }: Agent) => {
      for (let limit = 0, state = 'open'; state === 'open'; ) {
        // The first wait has any length, so that agents do not end their waits together.
        const isFirst = limit !== this.limit;
        ({ limit } = this);
        const wait_seconds = isFirst ? Math.ceil(limit * Math.random()) : limit;
        try {
          ({ state } = await client.wait(question_id, { wait_seconds }));
        } catch (error) {
          if (!isPassing(error)) throw error;
          this.figures.lost += 1;
        }
      }
      this.figures.answered += 1;
    };
    await Promise.all(this.#agents.map(waiter));
  }
}
