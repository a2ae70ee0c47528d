import { html } from 'htm/preact';
import { useEffect } from 'preact/hooks';
import { agentKey, agents, loaded, put, questions } from './inbox-store.ts';
import { useKeys } from './keys.ts';
import { Empty, Failure, Said } from './parts.ts';
import { moveFocus, QuestionCard } from './question-card.ts';
import { go, linkTo } from './route.ts';
import { base, client } from './service.ts';
import { Timeline } from './timeline.ts';
import { useLoad } from './use-load.ts';

/** One question: all of its text, its answer and where it was asked. `#/q/<id>`, and `/q/<id>` in links. */
export function QuestionView({ id }: { id: string }) {
  // The store may know it; an old one it does not.
  const known = questions.value.get(id);
  const { data, error } = useLoad(() => client.question(id), id, [known?.version]);
  const question = known ?? data;
  useKeys({ Escape: () => go('#/') });
  useEffect(() => {
    if (data && !known && data.state === 'open' && loaded.value) put([data]);
    if (question && document.activeElement === document.body) moveFocus(1, { scroll: false });
  }, [data, question !== undefined]);
  if (error && !question) return html`<h1>Question</h1><${Failure} error=${error} />`;
  if (!question) return html`<${Empty}>Loading…<//>`;
  const { run_id, agent_name, thread_id, source } = question;
  const agent = agents.value.get(agentKey(question));
  return html`
    <h1 class="crumbs"><a href="#/">Inbox</a> / Question</h1>
    <${QuestionCard} key=${id} question=${question} full />
    <dl class="facts">
      <dt>Agent</dt><dd><a href=${linkTo(['threads', thread_id])}><${Said} text=${agent_name} /></a>${agent ? ` · ${agent.status.replaceAll('_', ' ')}, attempt ${agent.attempt}` : ''}</dd>
      <dt>Run</dt><dd><a href=${linkTo(['runs', run_id])}><${Said} text=${run_id} /></a></dd>
      ${source && html`<dt>Asked in</dt><dd><${Said} text=${[source.host, source.cwd].filter(Boolean).join(', ')} />${source.url && /^https?:/.test(source.url) && html` · <a href=${source.url} target="_blank" rel="noopener noreferrer">session</a>`}</dd>`}
      <dt>Link</dt><dd><code>${new URL(`q/${id}`, base).href}</code></dd>
    </dl>
    <h2>What happened</h2>
    <${Timeline} filter=${{ thread_id }} version=${question.version} />`;
}
