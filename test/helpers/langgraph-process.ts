import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { deserialize, serialize } from 'node:v8';
import { Annotation, Command, interrupt, MemorySaver, StateGraph } from '@langchain/langgraph';
import { answerInterrupts } from '../../src/adapters/langgraph.ts';
import { Forumbus } from '../../src/client/index.ts';

/*
 * A process that runs a graph which asks twice, and keeps its checkpoints in a file, so that it can be killed and started
 * again. Arguments: the file, the service's URL, the run.
 */

const [file = '', url = '', run_id = ''] = process.argv.slice(2);

/** The saver of the framework, with a file that has what it holds. */
class FileSaver extends MemorySaver {
  load() {
    try {
      Object.assign(this, deserialize(readFileSync(file)));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
    return this;
  }

  override async put(...args: Parameters<MemorySaver['put']>) {
    const config = await super.put(...args);
    this.#save();
    return config;
  }

  override async putWrites(...args: Parameters<MemorySaver['putWrites']>) {
    await super.putWrites(...args);
    this.#save();
  }

  #save() {
    writeFileSync(`${file}.new`, serialize({ storage: this.storage, writes: this.writes }));
    renameSync(`${file}.new`, file);
  }
}

const State = Annotation.Root({ said: Annotation<unknown[]> });
const graph = new StateGraph(State)
  .addNode('ask', () => ({ said: [interrupt('Which region?'), interrupt('Which region?')] }))
  .addEdge('__start__', 'ask')
  .compile({ checkpointer: new FileSaver().load() });

const client = new Forumbus({ url, run_id, agent_name: 'builder' });
const thread = { configurable: { thread_id: run_id } };
const pending = async () => (await graph.getState(thread)).tasks.flatMap(({ interrupts }) => interrupts);
if ((await pending()).length === 0) await graph.invoke({ said: [] }, thread);
for (let open = await pending(); open.length > 0; open = await pending()) {
  await graph.invoke(new Command({ resume: await answerInterrupts(client, open) }), thread);
}
process.stdout.write(JSON.stringify((await graph.getState(thread)).values.said));
