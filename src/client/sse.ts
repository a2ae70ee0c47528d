/** One event of a stream. An `id` without `data` only moves the position. */
export interface Frame {
  id?: string;
  data?: string;
}

/**
 * Parses server-sent events (WHATWG HTML, 9.2.6), without `event` and `retry`.
 * @param arrived called for each chunk
 */
export async function* framesOf(
  body: ReadableStream<Uint8Array>,
  arrived: () => void,
): AsyncGenerator<Frame, void, undefined> {
  const decoder = new TextDecoder();
  const reader = body.getReader();
  let rest = '';
  let frame: Frame = {};
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      arrived();
      const lines = (rest + decoder.decode(value, { stream: true })).split(/\r\n|\n|\r(?!$)/);
      rest = lines.pop() ?? '';
      for (const line of lines) {
        if (line !== '') {
          frame = { ...frame, ...fieldOf(line, frame) };
          continue;
        }
        if (frame.id !== undefined || frame.data !== undefined) yield frame;
        frame = {};
      }
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

function fieldOf(line: string, { data }: Frame): Frame {
  const [, name, value = ''] = /^([^:]*)(?:: ?(.*))?$/s.exec(line) ?? [];
  if (name === 'id') return { id: value };
  if (name === 'data') return { data: data === undefined ? value : `${data}\n${value}` };
  return {};
}
