import { html } from 'htm/preact';
import { useState } from 'preact/hooks';
import type { Subscription, Webhook, WebhookWithSecret } from '../../client/index.ts';
import { channels } from './channels.ts';
import { now } from './live.ts';
import { Empty, Failure, Pill, Said } from './parts.ts';
import { linkTo } from './route.ts';
import { allOf, client } from './service.ts';
import { span } from './text.ts';
import { useLoad } from './use-load.ts';
import { WebhookForm } from './webhook-form.ts';

const MOST = 200;
export const crumb = html`<a href="#/deliveries">Deliveries</a> / `;

/** Who is told of events by a request, and how that goes. */
export function WebhookListView() {
  const [form, setForm] = useState(false);
  const [made, setMade] = useState<WebhookWithSecret>();
  const { data, error, reload } = useLoad(
    async signal => {
      const [webhooks, subscriptions] = await Promise.all([
        allOf(page => client.webhooks.list(page, { signal }), MOST),
        allOf(page => client.bus.subscriptions(page, { signal }), 2 * MOST),
      ]);
      return { webhooks, subscriptions };
    },
    'webhooks',
    [now.value],
  );
  const done = (webhook: WebhookWithSecret) => {
    setMade(webhook);
    setForm(false);
    reload();
  };
  return html`<h1 class="crumbs">${crumb}Webhooks</h1><${Failure} error=${error} />
    ${made && html`<${Secret} webhook=${made} />`}
    ${form ? html`<${WebhookForm} done=${done} />` : html`<p><button type="button" class="btn" onClick=${() => setForm(true)}>Add a webhook</button></p>`}
    ${!data && !error && html`<${Empty}>Loading…<//>`}
    ${data?.webhooks.length === 0 && html`<${Empty}>Nobody is told yet: Slack, Discord, Teams, ntfy or your own program could be.<//>`}
    ${
      data &&
      data.webhooks.length > 0 &&
      html`<div class="rows">${data.webhooks.map(one => html`<${WebhookRow} key=${one.name} webhook=${one} subscription=${subscriptionOf(one.name, data.subscriptions)} />`)}</div>`
    }`;
}

/** The secret of a new webhook; people need none. */
export function Secret({ webhook: { name, format, secret } }: { webhook: WebhookWithSecret }) {
  return html`<p class="notice" role="status"><b>${name}</b> ${
    format === 'standard'
      ? html`signs with this secret. Copy it now, it is shown only here: <code class="secret">${secret}</code>`
      : html`is set up. <a href=${linkTo(['webhooks', name])}>Send a test</a>`
  }</p>`;
}

export function subscriptionOf(name: string, all: Subscription[]): Subscription | undefined {
  return all.find(one => one.name === `webhook:${name}`);
}

function WebhookRow({ webhook, subscription }: { webhook: Webhook; subscription: Subscription | undefined }) {
  const { name, format, url, event_types } = webhook;
  return html`<div class="row"><a class="t" href=${linkTo(['webhooks', name])}>${name}</a>
    <span class="a"><${WebhookState} webhook=${webhook} /> · <${LagText} subscription=${subscription} /></span>
    <span class="s">${channels[format]?.label ?? format} · <${Said} text=${url} /> · ${event_types.join(', ')}</span></div>`;
}

export function LagText({ subscription }: { subscription: Subscription | undefined }) {
  if (!subscription) return null;
  const { waiting, dead, lag_seconds } = subscription;
  return html`${waiting > 0 ? `${waiting} waiting` : 'up to date'}${lag_seconds === null ? '' : `, ${span(lag_seconds * 1000)} behind`}${dead > 0 ? `, ${dead} dead` : ''}`;
}

const REASONS: Record<string, string> = {
  gone: 'the endpoint answered that it is gone (410)',
  failing: 'every attempt of five days failed',
  secret_expired: 'its last secret has expired',
};

/** Whether it is sent to, and if not, why. */
export function WebhookState({ webhook }: { webhook: Webhook }) {
  const { enabled, disabled_reason, next_probe_at, failures } = webhook;
  if (!enabled) {
    return disabled_reason === null
      ? html`<${Pill}>off<//>`
      : html`<${Pill} kind="bad">disabled<//> ${REASONS[disabled_reason] ?? disabled_reason}`;
  }
  if (next_probe_at !== null) {
    const wait = Date.parse(next_probe_at) - now.value;
    return html`<${Pill} kind="warn">failing<//> circuit open, next try ${wait > 0 ? `in ${span(wait)}` : 'now'}`;
  }
  return html`<${Pill} kind="ok">on<//>${failures > 0 && ` ${failures} failed in a row`}`;
}
