// SPDX-License-Identifier: Apache-2.0
// Histograms of exponents over time: what of a tile is shown, and one of its columns in words.
import { type Tile, columnOf, valueAt } from "../source/tile";
import { number, percent, power } from "../words";

/** "gradient": "gradients" */
export function rolePlural(role: string): string {
  return role === "parameter" || role === "weights" ? "weights" : `${role.replaceAll("_", " ")}s`;
}

const LEAST_OCTAVES = 16;
const AIR = 2; // octaves above and below
const TELLING = 0.01; // a smaller remainder is rounding

export interface Octaves {
  low: number; // exponents of two: the lowest shown, and behind the highest shown
  high: number;
}

export function octavesOf(tile: Tile): Octaves | null {
  let first = tile.rows, last = -1;
  for (let row = 0; row < tile.rows; row++)
    for (let c = 0; c < tile.columns; c++)
      if ((valueAt(tile, "mean", row, c) ?? 0) > 0) {
        first = Math.min(first, row);
        last = row;
        break;
      }
  if (last < 0) return null;
  const missing = Math.max(0, LEAST_OCTAVES - (last - first + 1 + 2 * AIR));
  return {
    low: tile.firstOctave + first - AIR - Math.ceil(missing / 2),
    high: tile.firstOctave + last + 1 + AIR + Math.floor(missing / 2),
  };
}

export interface Column {
  shares: { octave: number; share: number }[]; // not empty ones
  rest: number; // zeros, and what is not finite
}

/** null: there is no histogram in the column. */
export function columnAt(tile: Tile, column: number): Column | null {
  const shares: Column["shares"] = [];
  let measured = false, sum = 0;
  for (let row = 0; row < tile.rows; row++) {
    const share = valueAt(tile, "mean", row, column);
    measured = measured || share !== null;
    if (!share || !Number.isFinite(share)) continue;
    shares.push({ octave: tile.firstOctave + row, share });
    sum += share;
  }
  return measured ? { shares, rest: sum < 1 - TELLING ? 1 - sum : 0 } : null;
}

/** Of a step: the last column that begins at it or before. */
export function columnUpTo(tile: Tile, step: number): number {
  if (step >= tile.starts[tile.columns]!) return tile.columns - 1;
  return Math.max(columnOf(tile, step), 0);
}

/** Columns with a histogram: they are recorded seldom. */
export function filledColumns(tile: Tile): number[] {
  const filled: number[] = [];
  for (let c = 0; c < tile.columns; c++)
    for (let row = 0; row < tile.rows; row++)
      if (valueAt(tile, "mean", row, c) !== null) {
        filled.push(c);
        break;
      }
  return filled;
}

/** Of columns in order the place of the last one that is not behind `column`, else of the first; -1: none. */
export function placeUpTo(filled: number[], column: number): number {
  let place = Math.min(0, filled.length - 1);
  while (place + 1 < filled.length && filled[place + 1]! <= column) place++;
  return place;
}

export interface Format {
  exponent: number; // of two
  label: string;
  lost: string; // what is below it
}

export const FORMATS: Format[] = [
  { exponent: -14, label: "below: float16 loses digits", lost: "float16's normal numbers" },
  { exponent: -24, label: "below: 0 in float16", lost: "the end of float16" },
  { exponent: -126, label: "below: float32 loses digits", lost: "float32's normal numbers" },
];

function below(column: Column, exponent: number): number {
  return column.shares.reduce((sum, s) => (s.octave < exponent ? sum + s.share : sum), 0);
}

export function medianOctave(column: Column): number | null {
  const all = column.shares.reduce((sum, s) => sum + s.share, 0);
  let sum = 0;
  for (const { octave, share } of column.shares) {
    sum += share;
    if (sum >= all / 2) return octave;
  }
  return null;
}

export function columnWords(column: Column): string {
  const median = medianOctave(column);
  if (median === null) return column.rest > 0 ? "all zero or not finite" : "nothing";
  const parts = [`half lie below ${number(2 ** (median + 1), 2)}`];
  FORMATS.forEach(({ exponent, lost }, i) => {
    const share = below(column, exponent), deeper = below(column, FORMATS[i + 1]?.exponent ?? -Infinity);
    if (share > deeper + TELLING || (i === 0 && share > 0 && deeper === 0))
      parts.push(`${percent(Math.min(share, 1))} below ${lost}`);
  });
  if (column.rest > 0) parts.push(`${percent(column.rest)} zero or not finite`);
  return parts.join(", ");
}

/** Powers of ten between two powers of two, at most so many. */
export function decadeTicks({ low, high }: Octaves, most: number): { octave: number; label: string }[] {
  const perDecade = Math.log2(10);
  const from = Math.ceil(low / perDecade), to = Math.floor(high / perDecade);
  const every = Math.max(1, Math.ceil((to - from + 1) / Math.max(1, most)));
  const ticks = [];
  for (let k = Math.ceil(from / every) * every; k <= to; k += every)
    ticks.push({ octave: k * perDecade, label: k === 0 ? "1" : power(k) });
  return ticks;
}
