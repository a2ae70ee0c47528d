/** What makes two questions of an agent the same question. */
interface AskedQuestion {
  run_id: string;
  agent_name: string;
  /** The attempt of the agent; without one, its first. */
  attempt?: number | undefined;
  question: string;
  options?: readonly (string | { label: string; description?: string | undefined })[] | undefined;
}

/**
 * The idempotency key of a question: 43 characters after `ask-`. Asking the same again, by whatever way, finds the first one.
 * Built on Web Crypto, so that it also runs in a browser.
 */
export async function questionKey({ run_id, agent_name, attempt = 1, question, options = [] }: AskedQuestion) {
  const offered = options.map(option => (typeof option === 'string' ? { label: option } : option));
  const parts = [
    run_id,
    agent_name,
    attempt,
    question,
    offered.map(({ label, description = null }) => [label, description]),
  ];
  const hash = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(JSON.stringify(parts)));
  const text = btoa(String.fromCharCode(...new Uint8Array(hash)));
  return `ask-${text.replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '')}`;
}
