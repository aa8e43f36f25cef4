// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "vitest";
import type { Tile } from "../source/tile";
import { columnAt, columnUpTo, columnWords, decadeTicks, filledColumns, medianOctave, octavesOf, placeUpTo, rolePlural } from "./histogram_model";

const ABSENT = 65533, ONE = 1 + 228 * 152; // codes: 2^0; an octave has 228

/** shares: [octave][column], powers of two as their exponent, null: no histogram. */
function tileOf(firstOctave: number, shares: (number | null)[][]): Tile {
  const rows = shares.length, columns = shares[0]?.length ?? 0;
  const mean = Uint16Array.from(shares.flat().map((e) => (e === null ? ABSENT : e === -Infinity ? 0 : ONE + 228 * e)));
  return {
    codec: "log16", rows, columns, lastStep: columns - 1, firstOctave, starts: Float64Array.from({ length: columns + 1 }, (_, c) => c),
    mean, min: mean, max: mean, flags: new Uint8Array(rows * columns),
  };
}

test("what no octave holds is zero or not finite", () => {
  expect(columnAt(tileOf(-3, [[-1], [-2]]), 0)!.rest).toBeCloseTo(0.25);
  expect(columnAt(tileOf(-3, [[-1], [-1]]), 0)!.rest).toBe(0);
});

test("a column without a histogram has none, and the one before stands for it", () => {
  const tile = tileOf(0, [[0, null, 0, null]]);
  expect(columnAt(tile, 1)).toBe(null);
  const filled = filledColumns(tile);
  expect(filled).toEqual([0, 2]);
  expect([0, 1, 2, 3].map((c) => placeUpTo(filled, c))).toEqual([0, 0, 1, 1]);
  expect(placeUpTo(filledColumns(tileOf(0, [[null, 0]])), 0)).toBe(0);
  expect(placeUpTo(filledColumns(tileOf(0, [[null]])), 0)).toBe(-1);
});

test("the octaves shown hold all that there is, and some air", () => {
  expect(octavesOf(tileOf(-40, [[-1], [-1]]))).toEqual({ low: -47, high: -31 });
  expect(octavesOf(tileOf(-40, []))).toBe(null);
});

test("in words: the half, and what float16 loses", () => {
  const column = columnAt(tileOf(-26, [[-1], [-1]]), 0)!;
  expect(medianOctave(column)).toBe(-26);
  expect(columnWords(column)).toBe("half lie below 3×10⁻⁸, 100% below the end of float16");
  const wide = columnAt(tileOf(-25, [[-1], [-2], ...Array.from({ length: 10 }, () => [-Infinity]), [-2]]), 0)!;
  expect(columnWords(wide)).toBe("half lie below 6×10⁻⁸, 75% below float16's normal numbers, 50% below the end of float16");
  const mild = columnAt(tileOf(-16, [[-1], [-1]]), 0)!;
  expect(columnWords(mild)).toBe("half lie below 3.1×10⁻⁵, 100% below float16's normal numbers");
});

test("a step behind the last histogram has the last one", () => {
  expect(columnUpTo(tileOf(0, [[0, 0, 0]]), 99)).toBe(2);
  expect(columnUpTo(tileOf(0, [[0, 0, 0]]), 1)).toBe(1);
});

test("ticks are powers of ten, at most so many", () => {
  const ticks = decadeTicks({ low: -126, high: 4 }, 7);
  expect(ticks.length).toBeLessThanOrEqual(7);
  expect(decadeTicks({ low: -4, high: 4 }, 7).map((t) => t.label)).toEqual(["10⁻¹", "1", "10¹"]);
});

test("what the numbers are, in words", () => {
  expect(["gradient", "parameter", "error_signal"].map(rolePlural)).toEqual(["gradients", "weights", "error signals"]);
});
