// SPDX-License-Identifier: Apache-2.0
// What part of the run is seen, and how that changes. Spans are whole steps, both ends included.
import type { Span } from "../source/source";

const FEWEST_STEPS = 4;

const lengthOf = (span: Span): number => span.last - span.first + 1;

/** A span of so many steps inside the whole; null where that is the whole. */
function within(whole: Span, first: number, length: number): Span | null {
  const steps = Math.max(Math.round(length), FEWEST_STEPS);
  if (steps >= lengthOf(whole)) return null;
  const from = Math.min(Math.max(Math.round(first), whole.first), whole.last - steps + 1);
  return { first: from, last: from + steps - 1 };
}

/** factor below 1: closer. place: 0 … 1 of what is seen now, which stays where it is. */
export function zoomed(whole: Span, span: Span | null, factor: number, place: number): Span | null {
  const now = span ?? whole, length = lengthOf(now);
  const kept = now.first + place * length;
  let wanted = length * factor;
  if (factor < 1 && Math.round(wanted) >= length) wanted = length - 1;
  return within(whole, kept - place * Math.max(wanted, FEWEST_STEPS), wanted);
}

/** share: of what is seen now, to the right. */
export function panned(whole: Span, span: Span | null, share: number): Span | null {
  if (!span) return null;
  return within(whole, span.first + share * lengthOf(span), lengthOf(span));
}

export function between(whole: Span, one: number, other: number): Span | null {
  const first = Math.min(one, other), last = Math.max(one, other);
  const missing = FEWEST_STEPS - (last - first + 1);
  return within(whole, missing > 0 ? first - missing / 2 : first, last - first + 1);
}

/** A span from elsewhere (an address, an older state of a run) as it can be seen now. */
export const clamped = (whole: Span, span: Span | null): Span | null =>
  span && within(whole, span.first, lengthOf(span));

/** Moves just so far that a step is seen. */
export function showing(whole: Span, span: Span | null, step: number): Span | null {
  if (!span || (step >= span.first && step <= span.last)) return span;
  const first = step < span.first ? step : step - lengthOf(span) + 1;
  return within(whole, first, lengthOf(span));
}

/** Round steps, at most about so many. */
export function stepTicks(span: Span, most: number): number[] {
  const rough = lengthOf(span) / Math.max(most, 1);
  const power = 10 ** Math.floor(Math.log10(Math.max(rough, 1)));
  const every = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough) ?? power;
  const ticks: number[] = [];
  for (let tick = Math.ceil(span.first / every) * every; tick <= span.last; tick += every) ticks.push(tick);
  return ticks;
}
