import { html } from 'htm/preact';
import { useState } from 'preact/hooks';
import type { Event } from '../../client/index.ts';
import { Markdown } from './markdown.ts';
import { AgeText, Empty, Failure, Said } from './parts.ts';
import { linkTo } from './route.ts';
import { allOf, client } from './service.ts';
import { cut } from './text.ts';
import { useLoad } from './use-load.ts';

const STEP = 30;
const MOST = 1000;

interface TimelineProps {
  filter: { run_id?: string; thread_id?: string };
  /** Reads again when it changes. */
  version: number;
}

/** What the log says, newest first. */
export function Timeline({ filter, version }: TimelineProps) {
  const [most, setMost] = useState(STEP);
  const { data, error } = useLoad(
    signal => allOf(page => client.log.list({ ...filter, ...page, order: 'newest' }, { signal }), most),
    JSON.stringify(filter),
    [version, most],
  );
  if (!data) return error ? html`<${Failure} error=${error} />` : html`<${Empty}>Loading…<//>`;
  return html`<ol class="timeline">${data.filter(isOwnAct).map(event => html`<${Entry} key=${event.sequence} event=${event} />`)}</ol>
    ${data.length >= most && most < MOST && html`<button type="button" class="btn wide" onClick=${() => setMost(most * 2)}>Show earlier ones</button>`}`;
}

/** What merely follows from an act says nothing beside it. */
function isOwnAct({ event_type, causation_id }: Event): boolean {
  const follows = [
    ...['forum.question.opened', 'forum.question.approved', 'forum.question.answered'],
    'forum.state.changed',
  ];
  return causation_id === null || !follows.includes(event_type);
}

function Entry({ event }: { event: Event }) {
  const { actor, occurred_at, agent_name, thread_id } = event;
  const { act, text } = described(event);
  return html`<li>
    <span class="meta"><span class="who"><${Said} text=${actor.name} /></span><span>${act}</span>
      ${agent_name !== null && actor.name !== agent_name && thread_id !== null && html`· <a href=${linkTo(['threads', thread_id])}><${Said} text=${agent_name} /></a>`}
      <span class="right"><${AgeText} at=${occurred_at} /> ago</span></span>
    ${text && html`<div class="said"><${Markdown} text=${cut(text, 600)} /></div>`}
  </li>`;
}

/** An event in words. */
function described({ event_type, payload }: Event): { act: string; text?: string | undefined } {
  const at = payload as Record<string, string | undefined>;
  switch (event_type) {
    case 'forum.thread.opened':
      return { act: 'opened the thread' };
    case 'forum.post.added':
      return { act: 'wrote', text: at.body };
    case 'forum.control.signal':
      return describedSignal(at);
    case 'forum.assigned':
      return { act: at.to ? `gave it to ${at.to}` : 'took the assignment back' };
    case 'forum.state.changed':
      return { act: `moved it from ${said(at.from)} to ${said(at.to)}` };
    case 'forum.priority.changed':
      return { act: `changed the priority from ${at.from} to ${at.to}` };
    case 'forum.thread.closed':
      return { act: 'closed the thread' };
    case 'forum.question.opened':
      return { act: 'opened a question' };
    case 'forum.question.answered':
      return { act: 'ended the question by an answer' };
    case 'forum.question.cancelled':
      return { act: 'cancelled the question', text: at.question };
    case 'forum.question.superseded':
      return { act: 'replaced its question', text: at.question };
    case 'forum.question.expired':
      return { act: 'ended the question: nobody answered in time', text: at.question };
    case 'forum.question.acknowledged':
      return { act: 'received the outcome' };
    case 'forum.attempt.started':
      return { act: `started attempt ${at.attempt}` };
    case 'forum.agent.withdrawn':
      return { act: 'withdrew the agent' };
    case 'forum.run.briefed':
      return { act: 'filed the brief', text: at.title };
    case 'forum.run.closed':
      return { act: 'closed the run' };
    case 'forum.run.erased':
      return { act: 'erased the texts of the run' };
    default:
      return { act: event_type };
  }
}

function describedSignal(at: Record<string, string | undefined>): { act: string; text?: string | undefined } {
  switch (at.control_type) {
    case 'guidance_request':
      return { act: 'asked', text: at.question };
    case 'guidance_answer':
      return { act: 'answered', text: at.answer };
    case 'completion':
      return { act: 'reported completion', text: at.summary };
    case 'validation':
      return {
        act: at.status === 'passed' ? 'validated the work' : 'found that the work fails',
        text: at.done_criteria,
      };
    default:
      return { act: `sent ${at.control_type}` };
  }
}

const said = (state = '') => state.replaceAll('_', ' ');
