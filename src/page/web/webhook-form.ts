import { html } from 'htm/preact';
import { useState } from 'preact/hooks';
import type { NewWebhook, WebhookWithSecret } from '../../client/index.ts';
import { channels, formats } from './channels.ts';
import { Failure } from './parts.ts';
import { client, sentenceOf } from './service.ts';

/** What people want to hear of. */
const USUAL_TYPES = 'forum.question.*, forum.webhook.disabled';
const PRIORITIES = ['urgent', 'high', 'normal', 'low'];

/** Adds a webhook. @param done gets it with its secret, which nothing shows again */
export function WebhookForm({ done }: { done: (made: WebhookWithSecret) => void }) {
  const [format, setFormat] = useState<NewWebhook['format'] & string>('standard');
  const [error, setError] = useState<string>();
  const { url, usual = '', fields = [] } = channels[format];
  const add = async (event: SubmitEvent) => {
    event.preventDefault();
    const form = new FormData(event.target as HTMLFormElement);
    const given = (name: string) => String(form.get(name) ?? '').trim();
    const filled = (names: string[]) =>
      Object.fromEntries(names.flatMap(name => (given(name) ? [[name, given(name)]] : [])));
    const webhook = {
      ...{ name: given('name'), format, url: given('url') },
      event_types: given('event_types')
        .split(/[\s,]+/)
        .filter(type => type !== ''),
      settings: filled(fields.map(({ name }) => name)),
      filter: filled(['run_id', 'agent_name', 'priority_at_least']),
      answer_links: form.has('answer_links'),
    };
    setError(undefined);
    try {
      done(await client.webhooks.create(webhook));
    } catch (failure) {
      setError(sentenceOf(failure));
    }
  };
  return html`<form class="panel" onSubmit=${add} autocomplete="off">
    <label class="field">Format<select value=${format} onChange=${(event: Event) => setFormat((event.target as HTMLSelectElement).value as typeof format)}>${formats.map(one => html`<option value=${one}>${channels[one].label}</option>`)}</select></label>
    <label class="field">Name<input name="name" required pattern="[a-z0-9][a-z0-9_\\-]*" maxlength="63" title="Lower-case letters, digits, - and _" placeholder=${format} /></label>
    <label class="field" key=${format}>${url}<input name="url" type="url" required maxlength="2048" defaultValue=${usual} /></label>
    ${fields.map(({ name, label, required, secret }) => html`<label class="field" key=${name}>${label}<input name=${name} required=${required} type=${secret ? 'password' : 'text'} autocomplete="off" maxlength="500" /></label>`)}
    <label class="field">Events<input name="event_types" required defaultValue=${USUAL_TYPES} /></label>
    <div class="filters">Only
      <input name="run_id" aria-label="Run" placeholder="Run" maxlength="200" /><input name="agent_name" aria-label="Agent" placeholder="Agent" maxlength="200" />
      <select name="priority_at_least" aria-label="Priority"><option value="">any priority</option>${PRIORITIES.slice(0, -1).map(one => html`<option value=${one}>${one === 'urgent' ? one : `${one} and above`}</option>`)}</select></div>
    <label class="check"><input type="checkbox" name="answer_links" /> Whoever gets the message may answer</label>
    <${Failure} error=${error} />
    <div><button class="btn primary">Add</button></div>
  </form>`;
}
