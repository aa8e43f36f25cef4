// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { CODE_ABSENT, CODE_NAN, CODE_ZERO, HAS_NAN, codeOfLog2, codeValue, columnOf, cropTile, decodeTile, flagsAt, valueAt } from "./tile";

interface Cell { mean: number; min: number; max: number; flags?: number }

/** As src/report/tile.h has it. Values are codes, or for f64 numbers; NaN of absent f64 by its bits. */
function encodeTile(starts: number[], rows: Cell[][], f64 = false): ArrayBuffer {
  const columns = starts.length - 1, cells = rows.length * columns, width = f64 ? 8 : 2;
  const padded = (bytes: number): number => Math.ceil(bytes / 8) * 8;
  const meanAt = 32 + 8 * starts.length, plane = padded(cells * width);
  const bytes = new ArrayBuffer(meanAt + 3 * plane + padded(cells)), view = new DataView(bytes);
  view.setUint32(0, 0x42505431, false);
  view.setUint32(4, f64 ? 1 : 0, true);
  view.setUint32(8, rows.length, true);
  view.setUint32(12, columns, true);
  view.setBigInt64(16, BigInt(starts[columns]! - 1), true);
  view.setInt32(24, -3, true);
  starts.forEach((start, at) => view.setFloat64(32 + 8 * at, start, true));
  rows.flat().forEach((cell, at) => {
    [cell.mean, cell.min, cell.max].forEach((value, index) => {
      if (f64) view.setFloat64(meanAt + index * plane + 8 * at, value, true);
      else view.setUint16(meanAt + index * plane + 2 * at, value, true);
    });
    view.setUint8(meanAt + 3 * plane + at, cell.flags ?? 0);
  });
  return bytes;
}

const one = codeOfLog2(0);
const same = (code: number, flags = 0): Cell => ({ mean: code, min: code, max: code, flags });

describe("a code", () => {
  it("is a 228th of an octave", () => {
    expect(codeValue(1)).toBe(2 ** -152);
    expect(codeValue(one)).toBe(1);
    expect(codeValue(one + 228)).toBe(2);
    expect(codeValue(CODE_ZERO)).toBe(0);
    expect(codeValue(65534)).toBe(Infinity);
    expect(codeValue(CODE_NAN)).toBeNaN();
  });
});

describe("a tile", () => {
  const bytes = (): ArrayBuffer => encodeTile([0, 4, 8, 9], [
    [same(one), same(CODE_ABSENT), same(CODE_ZERO)],
    [{ mean: one, min: one - 228, max: one + 228 }, same(CODE_NAN, HAS_NAN), same(one)],
  ]);

  it("tells its values", () => {
    const tile = decodeTile(bytes());
    expect([tile.rows, tile.columns, tile.lastStep, tile.firstOctave]).toEqual([2, 3, 8, -3]);
    expect(valueAt(tile, "mean", 0, 0)).toBe(1);
    expect(valueAt(tile, "mean", 0, 1)).toBeNull();
    expect(valueAt(tile, "mean", 0, 2)).toBe(0);
    expect(valueAt(tile, "min", 1, 0)).toBe(0.5);
    expect(valueAt(tile, "max", 1, 0)).toBe(2);
    expect(valueAt(tile, "max", 1, 1)).toBeNaN();
    expect(flagsAt(tile, 1, 1)).toBe(HAS_NAN);
    expect(valueAt(tile, "mean", 2, 0)).toBeNull();
    expect(valueAt(tile, "mean", 0, 3)).toBeNull();
  });

  it("finds the column of a step", () => {
    const tile = decodeTile(bytes());
    expect([-1, 0, 3, 4, 7, 8, 9].map((step) => columnOf(tile, step))).toEqual([-1, 0, 0, 1, 1, 2, -1]);
  });

  it("is cropped to nothing by steps that it does not hold", () => {
    expect(cropTile(decodeTile(bytes()), 100, 200).columns).toBe(0);
  });

  it("is refused when it is longer, or tells more than it has", () => {
    const good = bytes();
    const longer = new Uint8Array(good.byteLength + 8);
    longer.set(new Uint8Array(good));
    expect(() => decodeTile(longer.buffer)).toThrow();
    for (const [at, value] of [[0, 0], [4, 2], [8, 0xffffffff], [12, 0xffffffff], [8, 3]] as const) {
      const bad = good.slice(0);
      new DataView(bad).setUint32(at, value, true);
      expect(() => decodeTile(bad), `byte ${at}`).toThrow();
    }
  });

  it("is refused when its steps do not rise or are no numbers", () => {
    for (const starts of [[0, 4, 4, 9], [9, 8, 4, 0], [0, NaN, 8, 9], [-1, 4, 8, 9], [0, 4, 8, Infinity]])
      expect(() => decodeTile(withStarts(starts)), String(starts)).toThrow();
  });
});

function withStarts(starts: number[]): ArrayBuffer {
  const bytes = encodeTile([0, 4, 8, 9], [[same(one), same(one), same(one)]]);
  starts.forEach((start, at) => new DataView(bytes).setFloat64(32 + 8 * at, start, true));
  return bytes;
}
