import { html } from 'htm/preact';
import { useState } from 'preact/hooks';
import type { PingResult, WebhookDelivery, WebhookWithSecret } from '../../client/index.ts';
import { channels } from './channels.ts';
import { now } from './live.ts';
import { Act, AgeText, Empty, Failure, Pill, Said } from './parts.ts';
import { go } from './route.ts';
import { allOf, client } from './service.ts';
import { clock, count, span } from './text.ts';
import { useLoad } from './use-load.ts';
import { crumb, LagText, Secret, subscriptionOf, WebhookState } from './webhooks.ts';

const DELIVERIES_MOST = 50;
const HOUR = 3600;
/** How long the secret before goes on signing. Seconds. */
const GRACES: [label: string, seconds: number][] = [
  ['for a day', 24 * HOUR],
  ['for an hour', HOUR],
  ['for a week', 168 * HOUR],
  ['no longer', 0],
];
const ENDED = ['sent', 'dead', 'discarded'];
const STATUSES = ['pending', 'processing', 'failed', ...ENDED];

/** One webhook: how it does, what it got, and what people do about it. */
export function WebhookView({ name }: { name: string }) {
  const [status, setStatus] = useState('');
  const { data, error, reload } = useLoad(
    async signal => {
      const query = { limit: DELIVERIES_MOST, ...(status && { status: status as WebhookDelivery['status'] }) };
      const [webhook, deliveries, subscriptions] = await Promise.all([
        client.webhooks.get(name, { signal }),
        client.webhooks.deliveries(name, query, { signal }),
        allOf(page => client.bus.subscriptions(page, { signal }), 400),
      ]);
      return { webhook, deliveries: deliveries.items, subscription: subscriptionOf(name, subscriptions) };
    },
    name,
    [status, now.value],
  );
  const crumbs = html`<h1 class="crumbs">${crumb}<a href="#/webhooks">Webhooks</a> / ${name}</h1>`;
  if (!data) return html`${crumbs}${error ? html`<${Failure} error=${error} />` : html`<${Empty}>Loading…<//>`}`;
  const { webhook, deliveries, subscription } = data;
  const { format, url, event_types, filter, answer_links, failing_since, enabled, secrets, description } = webhook;
  const turn = () => client.webhooks.change(name, { enabled: !enabled }).then(reload);
  const remove = () => client.webhooks.remove(name).then(() => go('#/webhooks'));
  const narrowed = Object.values(filter).join(', ');
  return html`${crumbs}<${Failure} error=${error} />
    <p><${WebhookState} webhook=${webhook} /> <span class="quiet"> · <${LagText} subscription=${subscription} /></span></p>
    <dl class="facts"><dt>Sent to</dt><dd>${channels[format]?.label ?? format}, <${Said} text=${url} /></dd>
      <dt>Events</dt><dd>${event_types.join(', ')}</dd>
      ${narrowed && html`<dt>Only</dt><dd><${Said} text=${narrowed} /></dd>`}
      ${answer_links && html`<dt>Readers</dt><dd>may answer</dd>`}
      ${description && html`<dt>For</dt><dd><${Said} text=${description} /></dd>`}
      ${failing_since && html`<dt>Failing</dt><dd>for <${AgeText} at=${failing_since} /></dd>`}
      ${format === 'standard' && html`<dt>Secrets</dt><dd>${secrets.map(({ expires_at }) => (expires_at ? `one until ${clock(expires_at)}` : 'one')).join(', ')}</dd>`}</dl>
    <div class="acts"><${Ping} name=${name} />
      <${Act} act=${turn} ...${enabled && { sure: 'Stop, and discard what waits?' }}>${enabled ? 'Disable' : 'Enable'}<//>
      ${format === 'standard' && html`<${Rotate} name=${name} done=${reload} />`}
      <${Act} sure="Delete it for good?" act=${remove}>Delete<//></div>
    <h2>Deliveries <span>the latest</span></h2>
    <div class="filters"><select aria-label="Status" value=${status} onChange=${(event: Event) => setStatus((event.target as HTMLSelectElement).value)}>
      <option value="">any status</option>${STATUSES.map(one => html`<option>${one}</option>`)}</select>
      ${enabled && html`<${Missed} name=${name} done=${reload} />`}</div>
    ${deliveries.length === 0 && html`<${Empty}>Nothing yet.<//>`}
    ${deliveries.length > 0 && html`<div class="rows">${deliveries.map(one => html`<${DeliveryRow} key=${one.delivery_id} name=${name} delivery=${one} canReplay=${enabled} reload=${reload} />`)}</div>`}`;
}

/** Sends a test, and says what came of it. */
function Ping({ name }: { name: string }) {
  const [result, setResult] = useState<PingResult>();
  const ping = async () => {
    setResult(undefined);
    setResult(await client.webhooks.ping(name));
  };
  return html`<${Act} kind="primary" act=${ping}>Send a test<//>
    ${
      result &&
      html`<span role="status" class=${result.ok ? '' : 'failure'}>${result.ok ? 'Arrived' : 'Failed'}: ${result.status === null ? html`<${Said} text=${result.error ?? ''} />` : `status ${result.status}`}, ${result.duration_ms} ms
        ${!result.ok && result.response_head && html`<br /><${Said} text=${result.response_head} />`}</span>`
    }`;
}

function Rotate({ name, done }: { name: string; done: () => void }) {
  const [seconds, setSeconds] = useState(24 * HOUR);
  const [made, setMade] = useState<WebhookWithSecret>();
  const rotate = async () => {
    setMade(await client.webhooks.rotateSecret(name, { grace_seconds: seconds }));
    done();
  };
  return html`<${Act} sure="Make another secret?" act=${rotate}>Rotate the secret<//>
    <label>The old one signs on <select value=${seconds} onChange=${(event: Event) => setSeconds(Number((event.target as HTMLSelectElement).value))}>${GRACES.map(([label, value]) => html`<option value=${value}>${label}</option>`)}</select></label>
    ${made && html`<div class="say"><${Secret} webhook=${made} /></div>`}`;
}

/** Sends the events of some time again that did not arrive. */
function Missed({ name, done }: { name: string; done: () => void }) {
  const [since, setSince] = useState('');
  const send = () =>
    client.webhooks.replay(name, { missing_since: new Date(since).toISOString() }).then(() => {
      setSince('');
      done();
    });
  return html`<label>Missed since <input type="datetime-local" value=${since} onInput=${(event: InputEvent) => setSince((event.target as HTMLInputElement).value)} /></label>
    <${Act} disabled=${since === ''} act=${send}>Send what was missed<//>`;
}

interface RowProps {
  name: string;
  delivery: WebhookDelivery;
  canReplay: boolean;
  reload: () => void;
}

const KINDS: Record<string, string> = { sent: 'ok', failed: 'warn', dead: 'bad' };

function DeliveryRow({ name, delivery, canReplay, reload }: RowProps) {
  const { delivery_id, event_type, status, reason, attempts, next_at, created_at } = delivery;
  const [isOpen, setOpen] = useState(false);
  const replay = () => client.webhooks.replay(name, { delivery_id }).then(reload);
  const wait = next_at === null ? 0 : Date.parse(next_at) - now.value;
  return html`<div class="row"><span class="t"><code>${event_type}</code></span>
    <span class="a"><${Pill} kind=${KINDS[status] ?? ''}>${status}<//> <${AgeText} at=${created_at} /> ago${wait > 0 && attempts.length > 0 && `, next try in ${span(wait)}`}</span>
    ${reason && html`<span class="s failure"><${Said} text=${reason} /></span>`}
    <div class="s acts">${attempts.length > 0 && html`<button type="button" class="quietly" aria-expanded=${isOpen} onClick=${() => setOpen(!isOpen)}>${count(attempts.length, 'attempt')}</button>`}
      ${canReplay && ENDED.includes(status) && html`<${Act} kind="quiet" act=${replay}>send again<//>`}</div>
    ${
      isOpen &&
      html`<ol class="s">${attempts.map(({ at, status: code, duration_ms, error, response_head }) => html`<li><${AgeText} at=${at} /> ago, ${duration_ms} ms${code !== null && `, status ${code}`}${error && html`: <${Said} text=${error} />`}${response_head && html` <code><${Said} text=${response_head} /></code>`}</li>`)}</ol>`
    }</div>`;
}
