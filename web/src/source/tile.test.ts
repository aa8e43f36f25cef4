// SPDX-License-Identifier: Apache-2.0
// Tiles that src/report/tile.c wrote (tests/report/test_tile.c keeps them), read as the page reads
// them: both sides agree on every byte.
import { expect, test } from "vitest";
import reals from "../../../tests/report/tile-f64.hex?raw";
import codes from "../../../tests/report/tile-log16.hex?raw";
import {
  CODE_NAN, CODE_ZERO, codeOfLog2, codeValue, cropTile, decodeTile, flagsAt, HAS_INF, HAS_NAN, valueAt,
  type Plane, type Tile,
} from "./tile";

const bytesOf = (hex: string): ArrayBuffer =>
  Uint8Array.from(hex.match(/[0-9a-f]{2}/g)!, (byte) => parseInt(byte, 16)).buffer;

// As tests/report/test_tile.c fills them: cell c * 3 + r has code 2000 + that as its mean, ...
const FIRST: Record<Plane, number> = { mean: 2000, min: 1000, max: 3000 };
const PLANES: Plane[] = ["mean", "min", "max"];

function check(tile: Tile): void {
  expect([tile.rows, tile.columns, tile.lastStep, tile.firstOctave]).toEqual([3, 5, 47, -3]);
  expect([...tile.starts]).toEqual([8, 16, 24, 40, 48, 2 ** 50]);
  for (let r = 0; r < 3; r++)
    for (let c = 0; c < 5; c++) {
      const cell = 3 * c + r;
      const flags = [0, 0, 0, 0, 0, HAS_NAN, HAS_NAN | HAS_INF][cell] ?? 0;
      expect(flagsAt(tile, r, c)).toBe(flags);
      for (const plane of PLANES) {
        const value = valueAt(tile, plane, r, c);
        if (cell === 4) expect(value).toBeNull();
        else if (cell === 5) expect(value).toBeNaN();
        else if (cell === 6) expect(value).toBeCloseTo({ mean: 0.5, min: 0, max: 1 }[plane], 12);
        else expect(value! / codeValue(FIRST[plane] + cell)).toBeCloseTo(1, 12);
      }
    }
}

test("a tile of codes", () => {
  const tile = decodeTile(bytesOf(codes));
  expect(tile.codec).toBe("log16");
  check(tile);
});

test("a tile of numbers", () => {
  const tile = decodeTile(bytesOf(reals));
  expect(tile.codec).toBe("f64");
  check(tile);
});

test("a part of a tile keeps what was not measured", () => {
  for (const hex of [codes, reals]) {
    const tile = cropTile(decodeTile(bytesOf(hex)), 16, 30);
    expect([...tile.starts]).toEqual([16, 24, 40]);
    expect(valueAt(tile, "mean", 1, 0)).toBeNull();
    expect(valueAt(tile, "max", 2, 0)).toBeNaN();
    expect(valueAt(tile, "max", 0, 1)).toBeCloseTo(1, 12);
  }
});

test("bytes that are no tile, and every truncation", () => {
  for (const hex of [codes, reals]) {
    const bytes = bytesOf(hex);
    for (let n = 0; n < bytes.byteLength; n++) expect(() => decodeTile(bytes.slice(0, n))).toThrow();
    for (let n = 0; n < 16; n++) { // magic, codec, rows, columns
      const changed = bytes.slice(0);
      new Uint8Array(changed)[n]! ^= 0x40;
      expect(() => decodeTile(changed)).toThrow();
    }
  }
});

test("codes", () => {
  expect(codeValue(CODE_ZERO)).toBe(0);
  expect(codeValue(CODE_NAN)).toBeNaN();
  expect(codeValue(codeOfLog2(0))).toBe(1);
  expect(codeValue(codeOfLog2(-10))).toBe(2 ** -10);
});
