// SPDX-License-Identifier: Apache-2.0
// What is asked for and comes later: the last answer stays until the next is there.
import { useEffect, useRef, useState } from "preact/hooks";

export interface Resource<T> {
  value: T | null;
  busy: boolean;
  error: Error | null;
}

export interface Question {
  subject: string; // of what: an answer about another subject is not kept
  place: string; // what of it; another place takes back what was asked for before
  stamp: string; // how new: what was asked for is waited for, then the newest is asked for
}

interface Answer<T> {
  question: Question | null;
  value: T | null;
  error: Error | null;
}

interface Pace {
  delayMs: number; // before asking: whether somebody changes their mind
  everyMs: number; // between two answers that differ by their stamps
}

const AT_ONCE: Pace = { delayMs: 0, everyMs: 250 };

/** question null: nothing is asked for. */
export function useResource<T>(question: Question | null, load: (signal: AbortSignal) => Promise<T>,
  pace: Pace = AT_ONCE): Resource<T> {
  const [answer, setAnswer] = useState<Answer<T>>({ question: null, value: null, error: null });
  const latest = useRef({ question, load });
  latest.current = { question, load };
  const asking = useRef<Question | null>(null);
  const ready = useRef(0); // when the next may be asked for, as performance.now() counts
  const stop = useRef<AbortController>(undefined);
  const { subject, place, stamp } = question ?? { subject: "", place: "", stamp: "" };
  const mine = question !== null && answer.question?.subject === subject;
  const here = mine && answer.question?.place === place;
  const newest = here && answer.question?.stamp === stamp;

  useEffect(() => () => {
    stop.current?.abort();
    asking.current = null;
    ready.current = 0;
  }, [subject, place, question === null]);

  useEffect(() => {
    if (question === null || newest || asking.current) return undefined;
    const wait = Math.max(pace.delayMs, ready.current - performance.now());
    const start = (): void => void ask();
    const timer = wait > 0 ? setTimeout(start, wait) : undefined;
    if (wait <= 0) start();
    return () => clearTimeout(timer);
  }, [subject, place, stamp, question === null, answer]);

  async function ask(): Promise<void> {
    const { question: asked, load: loadNow } = latest.current;
    if (!asked) return;
    const abort = stop.current = new AbortController();
    asking.current = asked;
    const started = performance.now();
    let value: T | null = null, error: Error | null = null;
    try {
      value = await loadNow(abort.signal);
    } catch (reason) {
      error = reason instanceof Error ? reason : new Error(String(reason));
    }
    if (abort.signal.aborted) return;
    asking.current = null;
    const now = performance.now();
    ready.current = now + Math.max(pace.everyMs, now - started); // a slow server gets time to breathe
    setAnswer((old) => ({ question: asked, error, value: error && old.question?.subject === asked.subject ? old.value : value }));
  }

  return { value: mine ? answer.value : null, busy: question !== null && !here, error: mine ? answer.error : null };
}
