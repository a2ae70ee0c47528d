import { html } from 'htm/preact';
import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import { now } from './live.ts';
import { sentenceOf } from './service.ts';
import { age, clock, visible } from './text.ts';

/* Small things that several views show. */

/** How long ago something was; its time as a tooltip. */
export function AgeText({ at }: { at: string }) {
  return html`<time dateTime=${at} title=${clock(at)}>${age(at, now.value)}</time>`;
}

/** A name or text of somebody else, in its own direction. */
export function Said({ text }: { text: string }) {
  return html`<bdi>${visible(text)}</bdi>`;
}

export function Pill({ kind = '', children }: { kind?: string; children?: ComponentChildren }) {
  return html`<span class=${`pill ${kind}`}>${children}</span>`;
}

export function Failure({ error }: { error: string | undefined }) {
  return error === undefined ? null : html`<p class="failure" role="alert">${error}</p>`;
}

export function Empty({ children }: { children?: ComponentChildren }) {
  return html`<p class="quiet">${children}</p>`;
}

interface ActProps {
  /** Resolves when the act is done; its errors are shown beside the button. */
  act: () => Promise<unknown>;
  /** The question that a second press answers; without one, the first press acts. */
  sure?: string;
  disabled?: boolean;
  kind?: string;
  children?: ComponentChildren;
}

/** A button that does something in the service. */
export function Act({ act, sure, disabled = false, kind = '', children }: ActProps) {
  const [state, setState] = useState<{ asks?: boolean; busy?: boolean; error?: string }>({});
  const press = async () => {
    if (sure !== undefined && !state.asks) return setState({ asks: true });
    setState({ busy: true });
    try {
      await act();
      setState({});
    } catch (error) {
      setState({ error: sentenceOf(error) });
    }
  };
  return html`<span class="act">
    <button type="button" class=${`btn ${kind} ${state.asks ? 'danger' : ''}`} disabled=${disabled || state.busy}
      onClick=${press} onBlur=${() => state.asks && setState({})}>${state.asks ? sure : children}</button>
    ${state.error && html`<span class="failure" role="alert">${state.error}</span>`}
  </span>`;
}
