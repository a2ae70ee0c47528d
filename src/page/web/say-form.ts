import { html } from 'htm/preact';
import { useState } from 'preact/hooks';
import { Failure } from './parts.ts';
import { sentenceOf } from './service.ts';

interface SayProps {
  label: string;
  /** Sends the words. */
  say: (body: string) => Promise<unknown>;
  /** What stands beside the button, such as a choice. */
  children?: unknown;
}

/** A field for words, which stay if they cannot be sent. */
export function SayForm({ label, say, children }: SayProps) {
  const [text, setText] = useState('');
  const [state, setState] = useState<{ busy?: boolean; error?: string }>({});
  const send = async () => {
    if (text.trim() === '' || state.busy) return;
    setState({ busy: true });
    try {
      await say(text.trim());
      setText('');
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
      onInput=${(event: InputEvent) => setText((event.target as HTMLTextAreaElement).value)}></textarea>
    <${Failure} error=${state.error} />
    <div class="foot"><button class="btn primary" disabled=${text.trim() === '' || state.busy}>Send</button>${children}</div>
  </form>`;
}
