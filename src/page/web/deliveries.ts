import { html } from 'htm/preact';
import { useState } from 'preact/hooks';
import type { Message, MessageDetail, Subscription } from '../../client/index.ts';
import { now } from './live.ts';
import { Act, AgeText, Empty, Failure, Pill, Said } from './parts.ts';
import { linkTo } from './route.ts';
import { allOf, client } from './service.ts';
import { mayAct } from './session.ts';
import { count, span, visible } from './text.ts';
import { useLoad } from './use-load.ts';

const DEAD_MOST = 50;

/** Who gets what: subscriptions with what waits for them, dead messages, paused topics. */
export function DeliveriesView() {
  // Deliveries are no events.
  const { data, error, reload } = useLoad(
    async signal => {
      const [subscriptions, dead, topics, stats] = await Promise.all([
        allOf(page => client.bus.subscriptions(page, { signal }), 200),
        client.outbox.list({ status: 'dead', limit: DEAD_MOST }, { signal }),
        client.bus.topics({ signal }),
        client.outbox.stats({ signal }),
      ]);
      return { subscriptions, dead, topics, stats };
    },
    'deliveries',
    [now.value],
  );
  if (!data)
    return html`<h1>Deliveries</h1>${error ? html`<${Failure} error=${error} />` : html`<${Empty}>Loading…<//>`}`;
  const { subscriptions, dead, topics, stats } = data;
  const { pending, processing, failed, sent, dead: dead_count } = stats.by_status;
  return html`<h1>Deliveries</h1><${Failure} error=${error} />
    <p class="quiet">${pending + failed} waiting, ${processing} being handled, ${dead_count} dead, ${sent.toLocaleString()} handled.</p>
    <h2>Subscriptions <span>${count(subscriptions.length, 'consumer')}</span>${mayAct.value && html` <a href="#/webhooks">Webhooks</a>`}</h2>
    ${subscriptions.length === 0 && html`<${Empty}>Nobody subscribes yet: handlers and webhooks would be here.<//>`}
    <div class="rows">${subscriptions.map(one => html`<${SubscriptionRow} key=${one.name} subscription=${one} />`)}</div>
    <h2>Dead messages <span>${dead_count === 0 ? 'none' : `${dead_count > DEAD_MOST ? `the oldest ${DEAD_MOST} of ` : ''}${count(dead_count, 'delivery', 'deliveries')}`}</span></h2>
    ${dead.items.length > 0 && html`<div class="rows">${dead.items.map(message => html`<${DeadRow} key=${`${message.message_id} ${message.consumer}`} message=${message} reload=${reload} />`)}</div>`}
    ${
      topics.topics_without_handler.length > 0 &&
      html`<h2>Topics without a consumer</h2><p>${topics.topics_without_handler.map(topic => html`<code>${topic}</code> `)}</p>`
    }
    <h2>Paused topics <span>${topics.paused.length === 0 ? 'none' : ''}</span></h2>
    ${topics.paused.map(
      topic =>
        html`<p class="act"><code>${topic}</code> ${mayAct.value && html`<${Act} act=${() => client.bus.resume(topic).then(reload)}>Resume<//>`}</p>`,
    )}
    ${mayAct.value && html`<${Pause} reload=${reload} />`}`;
}

function SubscriptionRow({ subscription }: { subscription: Subscription }) {
  const { name, kind, topics, served_by, waiting, dead, lag_seconds } = subscription;
  const [, webhook] = mayAct.value && kind === 'webhook' ? name.split(':') : [];
  return html`<div class="row"><span class="t">${webhook ? html`<a href=${linkTo(['webhooks', webhook])}>${name}</a>` : html`<${Said} text=${name} />`}</span>
    <span class="a">${served_by.length === 0 && html`<${Pill} kind="bad">not served<//> `}${dead > 0 && html`<${Pill} kind="warn">${dead} dead<//> `}${waiting > 0 ? `${waiting} waiting` : 'up to date'}${lag_seconds === null ? '' : `, ${span(lag_seconds * 1000)} behind`}</span>
    <span class="s">${kind}${topics.length > 0 ? ` · ${topics.join(', ')}` : ', switched off'}</span></div>`;
}

function DeadRow({ message, reload }: { message: Message; reload: () => void }) {
  const { message_id, consumer, topic, message_key, attempts, last_error, updated_at } = message;
  const [detail, setDetail] = useState<MessageDetail>();
  const act = (work: (id: string, consumer: string | undefined) => Promise<unknown>) => () =>
    work(message_id, consumer ?? undefined).then(reload);
  const show = async () => setDetail(detail ? undefined : await client.outbox.get(message_id));
  const delivery = detail?.deliveries.find(one => one.consumer === consumer);
  return html`<div class="row"><span class="t"><code>${topic}</code></span><span class="a">${count(attempts, 'attempt')}, <${AgeText} at=${updated_at} /> ago</span>
    <span class="s">${consumer ? html`for <${Said} text=${consumer} />` : 'for nobody'}${message_key !== null && html` · key <${Said} text=${message_key} />`}</span>
    <span class="s failure"><${Said} text=${last_error ?? ''} /></span>
    <div class="s acts"><${Act} kind="quiet" act=${show}>${detail ? 'hide attempts' : 'show attempts'}<//>
      ${mayAct.value && html`<${Act} kind="quiet" act=${act(client.outbox.replay)}>replay<//><${Act} kind="quiet" sure="Drop it for good?" act=${act(client.outbox.discard)}>discard<//>`}</div>
    ${
      detail &&
      html`<div class="s"><ol>${delivery?.attempt_history.map(({ started_at, duration_ms, error, outcome }) => html`<li><${AgeText} at=${started_at} /> ago, ${duration_ms} ms, ${outcome}${error && html`: <${Said} text=${error} />`}</li>`)}</ol>
      <pre tabindex="0">${visible(JSON.stringify(detail.payload, null, 2).slice(0, 4000))}</pre></div>`
    }</div>`;
}

function Pause({ reload }: { reload: () => void }) {
  const [topic, setTopic] = useState('');
  const pause = async () => {
    await client.bus.pause(topic.trim());
    setTopic('');
    reload();
  };
  return html`<div class="filters"><input aria-label="Topic to pause" placeholder="Topic to pause" value=${topic} maxlength="200" onInput=${(event: InputEvent) => setTopic((event.target as HTMLInputElement).value)} />
    <${Act} disabled=${topic.trim() === ''} act=${pause}>Pause<//></div>`;
}
