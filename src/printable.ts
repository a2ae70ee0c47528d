/** Characters that change how a terminal shows a text: controls, bidirectional controls and line separators. */
export const STEERING = String.raw`[\p{Cc}\p{Bidi_Control}\u2028\u2029]`;
const steering = new RegExp(STEERING, 'gu');

/** A text for one line of a terminal: characters that would steer it are shown as `\\u{…}`. */
export function printable(text: string): string {
  return text.replace(steering, character => `\\u{${character.codePointAt(0)?.toString(16)}}`);
}

/** A text of people for a model. Its lines are kept, but none of them looks like a fact of its own. */
export function quoted(text: string): string {
  const lines = text.replaceAll(/\r\n?/g, '\n').replaceAll(/[^\n\t]+/g, printable);
  return lines.replaceAll('\n', '\n  ');
}
