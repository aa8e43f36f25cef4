// SPDX-License-Identifier: Apache-2.0
// What the plots share: their width, and moving through them by keys.
import type { RefCallback } from "preact";
import { useLayoutEffect, useState } from "preact/hooks";
import type { Span } from "../source/source";

/** The width of an element in whole pixels, again when it changes; for its ref. */
export function useWidth(otherwise: number): [RefCallback<HTMLElement>, number] {
  const [element, setElement] = useState<HTMLElement | null>(null);
  const [width, setWidth] = useState(otherwise);
  useLayoutEffect(() => {
    if (!element) return;
    const measure = (): void => setWidth(Math.max(120, Math.floor(element.clientWidth) || otherwise));
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    measure();
    return () => observer.disconnect();
  }, [element, otherwise]);
  return [setElement, width];
}

/** True while the page is laid out for paper. */
export function usePrinting(): boolean {
  const [printing, setPrinting] = useState(false);
  useLayoutEffect(() => {
    const begin = (): void => setPrinting(true);
    const end = (): void => setPrinting(false);
    addEventListener("beforeprint", begin);
    addEventListener("afterprint", end);
    return () => {
      removeEventListener("beforeprint", begin);
      removeEventListener("afterprint", end);
    };
  }, []);
  return printing;
}

export const within = (span: Span, step: number): number => Math.min(Math.max(step, span.first), span.last);

const PAGE = 10;

/** Where a key leads from place `at` of `count`; null: not our key. */
export function placeOfKey(key: string, at: number, count: number): number | null {
  const moves: Record<string, number> = {
    ArrowLeft: at - 1, ArrowDown: at - 1, ArrowRight: at + 1, ArrowUp: at + 1,
    PageDown: at - PAGE, PageUp: at + PAGE, Home: 0, End: count - 1,
  };
  const place = moves[key];
  return place === undefined || count === 0 ? null : Math.min(Math.max(place, 0), count - 1);
}

/** For onKeyDown of an element with role=slider. */
export function onKeys(at: number, count: number, move: (place: number) => void) {
  return (event: KeyboardEvent): void => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const place = placeOfKey(event.key, at, count);
    if (place === null) return;
    event.preventDefault();
    event.stopPropagation(); // the page has keys of its own
    move(place);
  };
}
