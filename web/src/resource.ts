// SPDX-License-Identifier: Apache-2.0
// What is asked for and comes later: the last answer stays until the next is there.
import { useEffect, useState } from "preact/hooks";

export interface Resource<T> {
  value: T | null;
  busy: boolean;
  error: Error | null;
}

/** key: what is asked for; null: nothing. subject: of what; an answer about another is not kept.
 *  delayMs: how long to wait whether somebody changes their mind. */
export function useResource<T>(key: string | null, subject: string, load: (signal: AbortSignal) => Promise<T>,
  delayMs = 0): Resource<T> {
  const [state, setState] = useState<{ subject: string; key: string | null; value: T | null; error: Error | null }>(
    { subject, key: null, value: null, error: null });
  useEffect(() => {
    if (key === null) return undefined;
    const stop = new AbortController();
    const start = async (): Promise<void> => {
      try {
        const value = await load(stop.signal);
        if (!stop.signal.aborted) setState({ subject, key, value, error: null });
      } catch (reason) {
        if (stop.signal.aborted) return;
        const error = reason instanceof Error ? reason : new Error(String(reason));
        setState((old) => ({ subject, key, value: old.subject === subject ? old.value : null, error }));
      }
    };
    const timer = delayMs > 0 ? setTimeout(() => void start(), delayMs) : undefined;
    if (delayMs <= 0) void start();
    return () => {
      clearTimeout(timer);
      stop.abort();
    };
  }, [key, subject]);
  const mine = key !== null && state.subject === subject;
  return { value: mine ? state.value : null, busy: key !== null && state.key !== key, error: mine ? state.error : null };
}
