import { html } from 'htm/preact';
import { useState } from 'preact/hooks';
import type { Run } from '../../client/index.ts';
import { Failure } from './parts.ts';
import { client, isRefusal, sentenceOf } from './service.ts';
import { asMe } from './session.ts';

interface BriefProps {
  run_id: string;
  /** Undefined for a run that nobody has heard of. */
  run: Run | undefined;
  done: () => void;
}

/** Files or replaces the brief of a run. */
export function BriefForm({ run_id, run, done }: BriefProps) {
  const [error, setError] = useState<string>();
  // The version that the person began with.
  const [version] = useState(run?.version);
  const brief = run?.brief;
  const file = async (event: SubmitEvent) => {
    event.preventDefault();
    const form = new FormData(event.target as HTMLFormElement);
    const given = (name: string) => String(form.get(name)).trim();
    const agents = given('agents')
      .split(/[,\n]/)
      .flatMap(name => name.trim() || []);
    const [ticket, title, done_criteria] = ['ticket', 'title', 'done_criteria'].map(given);
    try {
      const fields = { ...(ticket && { ticket }), ...(title && { title }), ...(done_criteria && { done_criteria }) };
      await client.runs.brief(run_id, { ...fields, agents, ...asMe() }, { version });
      done();
    } catch (failure) {
      setError(
        isRefusal(failure, 'PRECONDITION_FAILED')
          ? 'The run has changed meanwhile; leave the form and open it again.'
          : sentenceOf(failure),
      );
    }
  };
  return html`<form class="panel" onSubmit=${file}>
    <label class="field">Title<input name="title" maxlength="500" defaultValue=${brief?.title ?? ''} /></label>
    <label class="field">Ticket<input name="ticket" maxlength="200" defaultValue=${brief?.ticket ?? ''} /></label>
    <label class="field">Done when<textarea name="done_criteria" rows="3" maxlength="16384" defaultValue=${brief?.done_criteria ?? ''}></textarea></label>
    <label class="field">Agents that must take part, separated by commas<textarea name="agents" rows="2" defaultValue=${brief?.agents.join(', ') ?? ''}></textarea></label>
    <${Failure} error=${error} />
    <div><button class="btn primary">File the brief</button></div>
  </form>`;
}
