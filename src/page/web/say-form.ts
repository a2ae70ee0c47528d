import { html } from 'htm/preact';
import { useState } from 'preact/hooks';
import { draftOf, keepDraft } from './inbox-store.ts';
import { Failure } from './parts.ts';
import { sentenceOf } from './service.ts';

interface SayProps {
  thread_id: string;
  label: string;
  /** Sends the words. */
  say: (body: string) => Promise<unknown>;
  /** What stands beside the button, such as a choice. */
  children?: unknown;
}

/** A field for words to a thread, which stay until they have been sent, also over a reload. */
export function SayForm({ thread_id, label, say, children }: SayProps) {
  const [text, setText] = useState(() => draftOf(thread_id).text);
  const change = (next: string) => {
    keepDraft(thread_id, { text: next, selected: [] });
    setText(next);
  };
  const [state, setState] = useState<{ busy?: boolean; error?: string }>({});
  const send = async () => {
    if (text.trim() === '' || state.busy) return;
    setState({ busy: true });
    try {
      await say(text.trim());
      change('');
      setState({});
    } catch (error) {
      setState({ error: sentenceOf(error) });
    }
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key !== 'Enter' || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    void send();
  };
  return html`<form class="say" onSubmit=${(event: SubmitEvent) => {
    event.preventDefault();
    void send();
  }}>
    <textarea aria-label=${label} placeholder=${label} rows="2" maxlength="65536" dir="auto" value=${text} onKeyDown=${onKeyDown}
      onInput=${(event: InputEvent) => change((event.target as HTMLTextAreaElement).value)}></textarea>
    <${Failure} error=${state.error} />
    <div class="foot"><button class="btn primary" disabled=${text.trim() === '' || state.busy}>Send</button>${children}</div>
  </form>`;
}
