// SPDX-License-Identifier: Apache-2.0
// Tiles of the network's series as the lines of a plot: one table of x for all runs.
import type { Tile } from "../source/tile";
import { flagsAt, valueAt } from "../source/tile";

/** undefined: nothing was measured there, the line goes on; null: a number that is not finite breaks it. */
export type Value = number | null | undefined;

export interface Line {
  mean: Value[];
  min: Value[];
  max: Value[];
}

/** A stretch of steps with values that are not finite. */
export interface Bad {
  first: number;
  last: number;
  flags: number;
}

export const middleOf = (tile: Tile, column: number): number =>
  (tile.starts[column]! + tile.starts[column + 1]! - 1) / 2;

export function xsOf(tiles: Tile[]): number[] {
  const all = new Set<number>();
  for (const tile of tiles) for (let c = 0; c < tile.columns; c++) all.add(middleOf(tile, c));
  return [...all].sort((a, b) => a - b);
}

/** positive: on a logarithmic scale, where other numbers have no place. */
export function lineOf(tile: Tile, xs: number[], positive: boolean): Line {
  const at = new Map(xs.map((x, i) => [x, i]));
  const line: Line = { mean: new Array(xs.length), min: new Array(xs.length), max: new Array(xs.length) };
  for (let c = 0; c < tile.columns; c++) {
    const i = at.get(middleOf(tile, c));
    if (i === undefined) continue;
    for (const plane of ["mean", "min", "max"] as const) {
      const value = valueAt(tile, plane, 0, c);
      if (value !== null)
        line[plane][i] = Number.isFinite(value) && !(positive && value <= 0) ? value : null;
    }
  }
  return line;
}

/** Each value's mean with its neighbours, `reach` to each side; not across breaks. */
export function smoothed(values: Value[], reach: number): Value[] {
  const mean: Value[] = [...values];
  let from = 0;
  for (let to = 0; to <= values.length; to++) {
    if (to < values.length && values[to] !== null) continue;
    smoothStretch(values, mean, from, to, reach);
    from = to + 1;
  }
  return mean;
}

function smoothStretch(values: Value[], mean: Value[], from: number, to: number, reach: number): void {
  const at: number[] = []; // where there are values
  for (let i = from; i < to; i++) if (values[i] !== undefined) at.push(i);
  at.forEach((i, k) => {
    const near = at.slice(Math.max(0, k - reach), k + reach + 1);
    mean[i] = near.reduce((sum, j) => sum + values[j]!, 0) / near.length;
  });
}

/** Values between breaks, which no line would show. */
export function aloneIn(values: Value[]): number[] {
  const alone: number[] = [];
  let before: Value = null; // what was last met, but for gaps that the line bridges
  let candidate = -1;
  values.forEach((value, i) => {
    if (value === undefined) return;
    if (value === null && candidate >= 0) alone.push(candidate);
    candidate = value !== null && before === null ? i : -1;
    before = value;
  });
  return candidate >= 0 ? [...alone, candidate] : alone;
}

export function badOf(tile: Tile): Bad[] {
  const found: Bad[] = [];
  for (let c = 0; c < tile.columns; c++) {
    const flags = flagsAt(tile, 0, c);
    if (!flags) continue;
    const first = tile.starts[c]!, last = tile.starts[c + 1]! - 1;
    const before = found[found.length - 1];
    if (before && before.last + 1 === first) {
      before.last = last;
      before.flags |= flags;
    } else found.push({ first, last, flags });
  }
  return found;
}

export interface Extent {
  low: number;
  high: number;
}

/** Of what lies within the span; null where nothing does. */
export function extentOf(lines: Value[][], xs: number[], first: number, last: number): Extent | null {
  let low = Infinity, high = -Infinity;
  for (const line of lines)
    for (let i = 0; i < xs.length; i++) {
      const value = line[i];
      if (xs[i]! < first - 0.5 || xs[i]! > last + 0.5 || typeof value !== "number") continue;
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
  return low <= high ? { low, high } : null;
}

/** With some air; a level line is in the middle. */
export function rangeOf(extent: Extent | null, logarithmic: boolean): [number, number] {
  if (!extent) return logarithmic ? [0.1, 10] : [0, 1];
  const { low, high } = extent;
  if (logarithmic) {
    const air = low < high ? (high / low) ** 0.06 : 2;
    return [low / air, Math.min(high * air, Number.MAX_VALUE)];
  }
  const air = low < high ? 0.06 * (high - low) : Math.max(0.2 * Math.abs(high), 1e-300);
  return [low >= 0 && low - air < 0 ? 0 : low - air, high + air];
}

/** Ticks of a logarithmic axis: powers of ten, with 2 and 5 where there are few, and even steps
 * where there is not even one. */
export function logTicks(low: number, high: number, most: number): number[] {
  const from = Math.floor(Math.log10(low)), to = Math.ceil(Math.log10(high));
  const every = Math.max(1, Math.ceil((to - from) / most));
  const factors = to - from <= 2 ? [1, 2, 5] : [1];
  const ticks: number[] = [];
  for (let k = Math.ceil(from / every) * every; k <= to; k += every)
    for (const factor of factors) ticks.push(factor * 10 ** k);
  const inside = ticks.filter((t) => t >= low && t <= high);
  return inside.length > 1 ? inside : evenTicks(low, high, most);
}

export function evenTicks(low: number, high: number, most: number): number[] {
  const raw = (high - low) / Math.max(1, most);
  const size = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((f) => f * size).find((s) => s >= raw) ?? raw;
  const ticks: number[] = [];
  for (let k = Math.ceil(low / step); k * step <= high && ticks.length <= 2 * most + 2; k++) ticks.push(k * step);
  return ticks;
}
