// SPDX-License-Identifier: Apache-2.0
// From a number to a place between the two ends of the colours. The ends come from the whole run, so
// that colours mean the same at every zoom, and leave out the most extreme hundredth.
import { CODE_LAST, CODE_ZERO, codeLog2, codeOfLog2, codeValue, valueAt, type Tile } from "../source/tile";
import { SIGNED_MIDDLE, codeOfRank, middleOf, ranksOf, type Show } from "./codes";
import type { Quantity } from "./quantities";
import { number, power } from "../words";

export interface Scale {
  low: number; // log2 of the value at either end; of a share or signed quantity the value itself
  high: number;
}

const OUTSIDE = 0.01; // share of the cells beyond either end
const LOG2_10 = Math.log2(10);

/** Signed quantities: what the outermost colours stand for. */
export function signedSizeOf(tiles: Tile[], quantity: Quantity): number {
  if (quantity.kind !== "signed") return 1;
  if (quantity.name === "gradient_cosine") return 1;
  const sizes: number[] = [];
  for (const tile of tiles)
    for (let row = 0; row < tile.rows; row++)
      for (let column = 0; column < tile.columns; column++) {
        const value = valueAt(tile, "mean", row, column);
        if (value !== null && Number.isFinite(value)) sizes.push(Math.abs(value));
      }
  sizes.sort((a, b) => a - b);
  return sizes[Math.floor(sizes.length * (1 - OUTSIDE))] || 1;
}

export function scaleOf(tiles: Tile[], quantity: Quantity, show: Show, signedSize: number): Scale {
  if (quantity.kind === "share") return { low: 0, high: 1 };
  if (quantity.kind === "signed") return { low: -signedSize, high: signedSize };
  const ends = percentiles(tiles, quantity, show);
  const middle = Math.log2(quantity.centre);
  if (quantity.kind === "ratio") {
    const reach = Math.max(Math.abs(ends.low - middle), Math.abs(ends.high - middle), 1);
    return { low: middle - reach, high: middle + reach };
  }
  if (quantity.kind === "alarm") return { low: 0, high: Math.max(ends.high, LOG2_10) };
  const short = LOG2_10 - (ends.high - ends.low); // at least a power of ten, or noise looks like a storm
  return short > 0 ? { low: ends.low - short / 2, high: ends.high + short / 2 } : ends;
}

function percentiles(tiles: Tile[], quantity: Quantity, show: Show): Scale {
  const ranks = new Uint32Array(65536), counts = new Uint32Array(CODE_LAST + 1), middle = middleOf(quantity);
  let total = 0;
  for (const tile of tiles)
    for (const rank of ranksOf(tile, quantity, show, 1)) ranks[rank]!++;
  for (let rank = 0; rank < ranks.length; rank++) {
    const code = codeOfRank(rank, middle);
    if (ranks[rank] === 0 || code === CODE_ZERO || code > CODE_LAST) continue;
    counts[code]! += ranks[rank]!;
    total += ranks[rank]!;
  }
  if (total === 0) return { low: -LOG2_10, high: 0 };
  const rank = Math.floor(total * OUTSIDE);
  let low = 1, high = CODE_LAST;
  for (let below = 0; below + counts[low]! <= rank; low++) below += counts[low]!;
  for (let above = 0; above + counts[high]! <= rank; high--) above += counts[high]!;
  return { low: codeLog2(low), high: codeLog2(Math.max(high, low)) };
}

/** 0 … 1 of a finite code. */
export function placeOf(scale: Scale, quantity: Quantity, code: number): number {
  let value: number;
  if (quantity.kind === "share") value = codeValue(code);
  else if (quantity.kind === "signed") value = (code - SIGNED_MIDDLE) / (SIGNED_MIDDLE - 1) * scale.high;
  else value = code === CODE_ZERO ? -Infinity : codeLog2(code);
  return Math.min(Math.max((value - scale.low) / (scale.high - scale.low), 0), 1);
}

/** The code at a place: for the legend. */
export function codeAt(scale: Scale, quantity: Quantity, place: number): number {
  const value = scale.low + place * (scale.high - scale.low);
  if (quantity.kind === "signed") return Math.round(SIGNED_MIDDLE + value / scale.high * (SIGNED_MIDDLE - 1));
  if (quantity.kind === "share") return value <= 0 ? CODE_ZERO : codeOfLog2(Math.log2(value));
  return codeOfLog2(value);
}

export interface Tick {
  place: number;
  label: string;
}

/** At most about so many, at powers of ten. */
export function ticksOf(scale: Scale, quantity: Quantity, most: number): Tick[] {
  if (quantity.kind === "share")
    return [0, 0.25, 0.5, 0.75, 1].map((place) => ({ place, label: `${place * 100}%` }));
  if (quantity.kind === "signed")
    return [0, 0.5, 1].map((place) => ({ place, label: number(scale.low + place * (scale.high - scale.low), 2) }));
  const low = scale.low / LOG2_10, high = scale.high / LOG2_10;
  const every = Math.max(1, Math.ceil((high - low) / most));
  const ticks: Tick[] = [];
  for (let exponent = Math.ceil(low / every - 1e-9) * every; exponent <= high + 1e-9; exponent += every)
    ticks.push({ place: (exponent - low) / (high - low), label: exponent === 0 ? "1" : power(exponent) });
  if (ticks.length >= 2) return ticks;
  return [0, 0.5, 1].map((place) => ({ place, label: number(2 ** (scale.low + place * (scale.high - scale.low)), 2) }));
}
