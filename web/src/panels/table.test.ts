// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "vitest";
import type { Layer } from "../source/types";
import type { Tile } from "../source/tile";
import { chosenColumns, measuredColumns, toCsv } from "./table";

const layer = (id: number, name: string): Layer => ({
  id, name, kind: "dense", activation: "tanh", norm: "none", frozen: false, fan_in: 4, fan_out: 4,
});
const series = { name: "gain", meaning: "", of: "layers" as const };

function tileOf(rows: number, flags = 0): Tile {
  const mean = Float64Array.from({ length: rows }, (_, row) => row / 2);
  return {
    codec: "f64", rows, columns: 1, lastStep: 9, firstOctave: 0, starts: Float64Array.from([0, 10]),
    mean, min: mean, max: mean, flags: new Uint8Array(rows).fill(flags),
  };
}

const rowsOf = (csv: string): string[] => csv.trimEnd().split("\r\n").slice(1);

test("a line a layer and column, with its steps, and the input's row is none", () => {
  expect(rowsOf(toCsv(tileOf(3), [layer(1, "a"), layer(2, "b")], series))).toEqual([
    '1,"a","gain",0,9,0.5,0.5,0.5,', '2,"b","gain",0,9,1,1,1,']);
});

test("a layer that has nothing of the series is left out", () => {
  const tile: Tile = { ...tileOf(3), codec: "log16", mean: Uint16Array.from([1, 65533, 1]) };
  expect(rowsOf(toCsv(tile, [layer(1, "a"), layer(2, "b")], series)).map((row) => row.split(",")[0])).toEqual(["2"]);
});

test("a name is no formula and ends no cell", () => {
  for (const name of ["=1+1", "+1", "-1", "@SUM(1)", "\t=1", "\r=1"])
    expect(rowsOf(toCsv(tileOf(2), [layer(1, name)], series))[0]).toContain(`1,"'${name}",`);
  expect(rowsOf(toCsv(tileOf(2), [layer(1, 'a",b')], series))[0]).toContain('1,"a"",b",');
});

test("numbers that are not finite are told by words", () => {
  expect(rowsOf(toCsv(tileOf(2, 3), [layer(1, "a")], series))[0]).toMatch(/,NaN Inf$/);
});

test("columns are chosen evenly, with both ends", () => {
  expect(chosenColumns(3, 12)).toEqual([0, 1, 2]);
  const chosen = chosenColumns(1000, 12);
  expect(chosen.length).toBe(12);
  expect([chosen[0], chosen[11]]).toEqual([0, 999]);
});

test("columns without a value are passed over, unless there are no others", () => {
  const ABSENT = 65533;
  const codes = (...mean: number[]): Tile => ({ ...tileOf(1), codec: "log16", columns: mean.length,
    starts: Float64Array.from([0, ...mean].keys()), mean: Uint16Array.from(mean) });
  expect(measuredColumns(codes(1, ABSENT, 0, 65535))).toEqual([0, 2, 3]);
  expect(measuredColumns(codes(ABSENT, ABSENT))).toEqual([0, 1]);
});
