// SPDX-License-Identifier: Apache-2.0
// Mouse and fingers on the map. Mouse: a drag zooms to what it framed, with Shift it moves; fingers:
// one moves, two zoom. A press without a drag selects.
import type { RefObject } from "preact";
import { useEffect, useRef } from "preact/hooks";

export interface Point {
  x: number; // 0 … 1 of the map
  y: number;
}

export interface Gestures {
  hover(at: Point | null): void;
  select(at: Point): void;
  frame(from: Point, to: Point, done: boolean): void;
  pan(share: number): void; // of the width, to the right
  zoom(factor: number, place: number): void;
}

const DRAG_PIXELS = 5;

interface Held {
  start: Point;
  last: Point;
  moved: boolean;
  pans: boolean;
}

export function useGestures(ref: RefObject<HTMLElement | null>, gestures: Gestures): void {
  const current = useRef(gestures);
  current.current = gestures;
  useEffect(() => {
    const element = ref.current;
    return element ? listen(element, () => current.current) : undefined;
  }, [ref]);
}

function listen(element: HTMLElement, gestures: () => Gestures): () => void {
  const held = new Map<number, Held>();
  const stop = new AbortController();
  const at = (event: { clientX: number; clientY: number }): Point => {
    const box = element.getBoundingClientRect();
    const share = (value: number): number => Math.min(Math.max(value, 0), 1);
    return { x: share((event.clientX - box.left) / box.width), y: share((event.clientY - box.top) / box.height) };
  };
  const far = (from: Point, to: Point): boolean =>
    Math.hypot((to.x - from.x) * element.clientWidth, (to.y - from.y) * element.clientHeight) > DRAG_PIXELS;

  const down = (event: PointerEvent): void => {
    if (event.button > 1) return;
    element.setPointerCapture(event.pointerId);
    const point = at(event);
    const pans = event.pointerType === "touch" || event.shiftKey || event.button === 1;
    held.set(event.pointerId, { start: point, last: point, moved: false, pans });
  };

  const pinch = (moving: Held, to: Point): void => {
    const other = [...held.values()].find((candidate) => candidate !== moving)!;
    const before = Math.abs(moving.last.x - other.last.x), now = Math.abs(to.x - other.last.x);
    for (const each of held.values()) each.moved = true;
    if (before > 0.02 && now > 0.02) gestures().zoom(before / now, (to.x + other.last.x) / 2);
    gestures().pan((moving.last.x - to.x) / 2);
  };

  const move = (event: PointerEvent): void => {
    const point = at(event), hold = held.get(event.pointerId);
    if (!hold) {
      if (event.pointerType !== "touch") gestures().hover(point);
      return;
    }
    if (held.size === 2) pinch(hold, point);
    else {
      hold.moved ||= far(hold.start, point);
      if (hold.moved && hold.pans) gestures().pan(hold.last.x - point.x);
      else if (hold.moved) gestures().frame(hold.start, point, false);
    }
    hold.last = point;
  };

  const up = (event: PointerEvent): void => {
    const hold = held.get(event.pointerId);
    held.delete(event.pointerId);
    if (!hold || event.type === "pointercancel") return;
    if (!hold.moved) gestures().select(at(event));
    else if (!hold.pans) gestures().frame(hold.start, at(event), true);
  };

  const wheel = (event: WheelEvent): void => {
    const sideways = event.shiftKey ? event.deltaX || event.deltaY : event.deltaX;
    if (event.ctrlKey || event.metaKey) gestures().zoom(1.002 ** Math.max(-300, Math.min(300, event.deltaY)), at(event).x);
    else if (sideways !== 0 && Math.abs(sideways) >= Math.abs(event.shiftKey ? 0 : event.deltaY))
      gestures().pan(sideways / element.clientWidth);
    else return; // the page scrolls
    event.preventDefault();
  };

  const { signal } = stop;
  element.addEventListener("pointerdown", down, { signal });
  element.addEventListener("pointermove", move, { signal });
  element.addEventListener("pointerup", up, { signal });
  element.addEventListener("pointercancel", up, { signal });
  element.addEventListener("pointerleave", () => gestures().hover(null), { signal });
  element.addEventListener("wheel", wheel, { signal, passive: false });
  return () => stop.abort();
}
