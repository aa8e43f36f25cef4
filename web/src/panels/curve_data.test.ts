// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "vitest";
import type { Tile } from "../source/tile";
import { aloneIn, badOf, evenTicks, extentOf, lineOf, logTicks, rangeOf, smoothed, xsOf } from "./curve_data";

/** Columns of one step; null: not measured. */
function tileOf(values: (number | null)[], flags: number[] = values.map(() => 0)): Tile {
  const bits = new BigUint64Array([0x7ff80000bad0bad0n]);
  const absent = new Uint8Array(bits.buffer);
  const mean = new Float64Array(values.length);
  values.forEach((value, i) => {
    if (value === null) new Uint8Array(mean.buffer).set(absent, 8 * i);
    else mean[i] = value;
  });
  return {
    codec: "f64", rows: 1, columns: values.length, lastStep: values.length - 1, firstOctave: 0,
    starts: Float64Array.from({ length: values.length + 1 }, (_, c) => c), mean, min: mean, max: mean,
    flags: Uint8Array.from(flags),
  };
}

describe("lines", () => {
  test("what was not measured leaves the line whole, what is not finite breaks it", () => {
    const tile = tileOf([1, null, NaN, 4]);
    expect(lineOf(tile, xsOf([tile]), false).mean).toEqual([1, undefined, null, 4]);
  });

  test("on a logarithmic scale only positive numbers have a place", () => {
    const tile = tileOf([1, 0, -2, 4]);
    expect(lineOf(tile, xsOf([tile]), true).mean).toEqual([1, null, null, 4]);
    expect(lineOf(tile, xsOf([tile]), false).mean).toEqual([1, 0, -2, 4]);
  });

  test("two runs share one table of steps", () => {
    const short = tileOf([1, 2]), long = tileOf([1, 2, 3]);
    const xs = xsOf([short, long]);
    expect(xs).toEqual([0, 1, 2]);
    expect(lineOf(short, xs, false).mean[2]).toBe(undefined);
  });

  test("neighbouring columns that are not finite are one stretch with all flags", () => {
    expect(badOf(tileOf([1, NaN, NaN, 2, NaN], [0, 1, 2, 0, 1]))).toEqual([
      { first: 1, last: 2, flags: 3 }, { first: 4, last: 4, flags: 1 }]);
  });

  test("a value between breaks is alone, one with a neighbour is not", () => {
    expect(aloneIn([1, null, 2, 3, null, undefined, 4, undefined])).toEqual([0, 6]);
    expect(aloneIn([1, undefined, 2])).toEqual([]);
  });

  test("smoothing stays within a stretch", () => {
    expect(smoothed([1, 3, null, 100, undefined, 200], 1)).toEqual([2, 2, null, 150, undefined, 150]);
  });
});

describe("scales", () => {
  test("only what lies in the span counts", () => {
    expect(extentOf([[1, 50, 3]], [0, 1, 2], 2, 2)).toEqual({ low: 3, high: 3 });
    expect(extentOf([[null, undefined]], [0, 1], 0, 1)).toBe(null);
  });

  test("a level line has room above and below", () => {
    const [low, high] = rangeOf({ low: 5, high: 5 }, false);
    expect(low).toBeLessThan(5);
    expect(high).toBeGreaterThan(5);
    const [l, h] = rangeOf({ low: 5, high: 5 }, true);
    expect(l).toBeLessThan(5);
    expect(h).toBeGreaterThan(5);
  });

  test("what is not negative is not shown on a scale with negative numbers", () => {
    expect(rangeOf({ low: 0.01, high: 10 }, false)[0]).toBe(0);
  });

  test("ticks are within, few, and round", () => {
    expect(logTicks(1e-12, 1, 4)).toEqual([1e-12, 1e-9, 1e-6, 1e-3, 1]);
    expect(logTicks(2.31, 2.34, 4).length).toBeGreaterThan(1);
    expect(evenTicks(0, 1, 5)).toEqual([0, 0.2, 0.4, 0.6000000000000001, 0.8, 1]);
  });

  test("an extent at the end of the numbers makes no endless loop", () => {
    for (const [low, high] of [[1e-300, 1e300], [0, 5e-324], [1, 1 + 1e-16]] as const) {
      expect(evenTicks(low, high, 5).length).toBeLessThan(20);
      if (low > 0) expect(logTicks(low, high, 5).length).toBeLessThan(20);
    }
  });
});
