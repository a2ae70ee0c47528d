import { useEffect, useState } from 'preact/hooks';
import { sentenceOf } from './service.ts';
import { hasEnded } from './session.ts';

export interface Loaded<T> {
  data: T | undefined;
  /** A sentence. */
  error: string | undefined;
  reload: () => void;
}

/**
 * Reads something for a view, and again whenever one of `inputs` changes. Meanwhile the view keeps what it has, unless it is
 * about something else (`subject`).
 */
export function useLoad<T>(
  read: (signal: AbortSignal) => Promise<T>,
  subject: string,
  inputs: readonly unknown[] = [],
): Loaded<T> {
  const [state, setState] = useState<{ subject: string; data?: T; error?: string }>({ subject });
  const [again, setAgain] = useState(0);
  useEffect(() => {
    const ending = new AbortController();
    read(ending.signal).then(
      data => !ending.signal.aborted && setState({ subject, data }),
      error => {
        if (ending.signal.aborted || hasEnded(error)) return;
        setState(last => ({ ...(last.subject === subject && last), subject, error: sentenceOf(error) }));
      },
    );
    return () => ending.abort();
  }, [subject, again, ...inputs]);
  const current = state.subject === subject ? state : { subject };
  return { data: current.data, error: current.error, reload: () => setAgain(number => number + 1) };
}
