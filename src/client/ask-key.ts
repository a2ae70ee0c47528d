interface Asked {
  run_id: string;
  agent_name: string;
  attempt: number;
  question: string;
  options?: readonly (string | { label: string })[] | undefined;
  approvals?: number | undefined;
}

/**
 * The idempotency key of a question: the same for the same text and option labels of an agent in its attempt. So a repeated
 * ask finds its question. For two people it is another question.
 */
export function askKey({ run_id, agent_name, attempt, question, options = [], approvals = 1 }: Asked): Promise<string> {
  const labels = options.map(option => normal(typeof option === 'string' ? option : option.label));
  const forTwo = approvals > 1 ? [approvals] : [];
  return digest('ask', [normal(run_id), normal(agent_name), attempt, question, labels, ...forTwo]);
}

/** `<prefix>-` and a SHA-256 of the values in hexadecimal. */
export async function digest(prefix: string, values: unknown[]): Promise<string> {
  const bytes = new TextEncoder().encode(JSON.stringify(values));
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  return `${prefix}-${Array.from(hash, byte => byte.toString(16).padStart(2, '0')).join('')}`;
}

/** A name as the service stores it. */
export function normal(name: string): string {
  return name.trim().normalize('NFC');
}
