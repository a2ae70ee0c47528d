/**
 * What an answer or a default says: its labels in the given order, and its text if that says more.
 * @param shown the labels as the asker writes them
 */
export function choiceText(text: string | null, labels: readonly string[], shown = labels): string {
  if (labels.length === 0) return text ?? '';
  // The service makes a text out of labels alone, in an order of its own.
  const known = labels.join(', ').split(', ');
  const saysMore = text?.split(', ').some(part => !known.includes(part));
  return shown.join(', ') + (saysMore ? ` (${text})` : '');
}
