// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { CODE_ABSENT, CODE_INF, CODE_LAST, CODE_NAN, CODE_ZERO, HAS_NAN, codeOfLog2, type Tile } from "../source/tile";
import type { Layer } from "../source/types";
import { codeOfRank, middleOf, rankOf, ranksOf } from "./codes";
import { picture, type Window } from "./paint";
import { quantityOf } from "./quantities";
import { readingAt } from "./readout";
import { blockPath, joinsAtFirst, lineOfRow, planRows } from "./rows";
import { codeAt, placeOf, scaleOf, ticksOf } from "./scale";
import { between, clamped, panned, showing, stepTicks, zoomed } from "./view";

const layersOnly = (row: number): boolean => row > 0;
const series = (name: string) => quantityOf({ name, meaning: "", of: "layers" });
const gradient = series("gradient_rms"), gain = series("gain"), dead = series("dead_fraction");
const code = (value: number): number => codeOfLog2(Math.log2(value));
const layersOf = (...names: string[]): Layer[] => names.map((name, index) =>
  ({ id: index + 1, name, kind: "dense", activation: "", norm: "", frozen: false, fan_in: 1, fan_out: 1 }));

function tileOf(rows: (number | null)[][], flags: number[] = []): Tile {
  const columns = rows[0]!.length;
  const plane = (): Uint16Array => Uint16Array.from(rows.flat(), (value) => (value === null ? CODE_ABSENT : value === 0 ? 0 : code(value)));
  return {
    codec: "log16", rows: rows.length, columns, lastStep: columns - 1, firstOctave: 0,
    starts: Float64Array.from({ length: columns + 1 }, (_, at) => at),
    mean: plane(), min: plane(), max: plane(), flags: Uint8Array.from({ length: rows.length * columns }, (_, at) => flags[at] ?? 0),
  };
}

describe("a rank", () => {
  const bad = [CODE_INF, CODE_NAN];
  it("is larger, the worse: by size", () => {
    const codes = [CODE_ABSENT, CODE_ZERO, 1, code(1e-20), code(1), CODE_LAST, ...bad];
    const ranks = codes.map((each) => rankOf(each, 0));
    expect([...ranks].sort((a, b) => a - b)).toEqual(ranks);
    expect(ranks.map((rank) => codeOfRank(rank, 0))).toEqual(codes);
  });
  it("is larger, the worse: by distance from the middle", () => {
    const middle = middleOf(gain);
    const codes = [CODE_ABSENT, code(1), code(2), code(0.25), code(16), code(1e-9), CODE_ZERO, ...bad];
    const ranks = codes.map((each) => rankOf(each, middle));
    expect([...ranks].sort((a, b) => a - b)).toEqual(ranks);
    expect(ranks.map((rank) => codeOfRank(rank, middle))).toEqual(codes);
  });
  it("of a cell with a NaN is that of NaN, whatever else is in it", () => {
    expect([...ranksOf(tileOf([[1, 2]], [HAS_NAN, 0]), gradient, "mean", 1)]).toEqual([CODE_NAN, code(2) + 1]);
  });
  it("of a gain is that of the worse extreme", () => {
    const tile = tileOf([[1]]);
    tile.min[0] = code(1e-6);
    tile.max[0] = code(100);
    expect(codeOfRank(ranksOf(tile, gain, "worst", 1)[0]!, middleOf(gain))).toBe(code(1e-6));
    tile.max[0] = code(1e8);
    expect(codeOfRank(ranksOf(tileOf([[1]]), gain, "worst", 1)[0]!, middleOf(gain))).toBe(code(1));
  });
});

describe("the picture", () => {
  const window = (first: number, end: number, bottom: number): Window => ({ first, end, top: 0, bottom });
  const draw = (tile: Tile, layers: Layer[], at: Window, width: number, height: number) =>
    picture([{ tile, ranks: ranksOf(tile, gradient, "worst", 1) }], planRows(layers, new Set(), layersOnly).lines, at, width, height);

  it("joins columns by the worst", () => {
    const tile = tileOf([[null, null, null, null], [1, 8, 2, 4]]);
    expect([...draw(tile, layersOf("a"), window(0, 4, 1), 2, 1).ranks]).toEqual([code(8) + 1, code(4) + 1]);
  });

  it("shows one bad cell of a million, three pixels wide at least", () => {
    const columns = 1000, rows = 1000, cells = (rows + 1) * columns;
    const ones = new Uint16Array(cells).fill(code(1));
    const tile: Tile = { ...tileOf([new Array<number>(columns).fill(1)]), rows: rows + 1, mean: ones, min: ones, max: ones, flags: new Uint8Array(cells) };
    tile.flags[700 * columns + 333] = HAS_NAN;
    const layers = layersOf(...Array.from({ length: rows }, (_, at) => `dense_${at}`));
    const { ranks } = draw(tile, layers, window(0, columns, rows), 100, 60);
    const seen = [...ranks.keys()].filter((at) => ranks[at] === CODE_NAN);
    expect(seen.length).toBe(9);
    expect(new Set(seen.map((at) => at % 100))).toEqual(new Set([32, 33, 34]));
    expect(new Set(seen.map((at) => Math.floor(at / 100)))).toEqual(new Set([40, 41, 42]));
  });

  it("widens what is two pixels wide", () => {
    const tile = tileOf([new Array<number>(8).fill(1), new Array<number>(8).fill(1)]);
    tile.flags[8 + 4] = HAS_NAN;
    const { ranks } = draw(tile, layersOf("a"), window(0, 8, 1), 16, 10);
    expect([...ranks.slice(0, 16).keys()].filter((at) => ranks[at] === CODE_NAN)).toEqual([7, 8, 9, 10]);
  });

  it("knows what was measured beyond its edges", () => {
    const tile = tileOf([[null, null, null, null], [3, null, null, 5]]);
    const image = draw(tile, layersOf("a"), window(1, 3, 1), 2, 1);
    expect([...image.ranks]).toEqual([0, 0]);
    expect([image.before[0], image.after[0]]).toEqual([code(3) + 1, code(5) + 1]);
  });

  it("takes the finer tile where it reaches", () => {
    const coarse = tileOf([[0], [2]]), fine = tileOf([[0, 0], [4, 8]]);
    coarse.starts.set([0, 8]);
    fine.starts.set([2, 4, 6]);
    const layers = [fine, coarse].map((tile) => ({ tile, ranks: ranksOf(tile, gradient, "worst", 1) }));
    const { ranks } = picture(layers, planRows(layersOf("a"), new Set(), layersOnly).lines, window(0, 8, 1), 4, 1);
    expect([...ranks].map((rank) => rank - 1)).toEqual([2, 4, 8, 2].map(code));
  });
});

describe("lines", () => {
  it("are grouped by block", () => {
    expect(["blocks.0.attn.proj", "head.fc", "features.3", "dense_1", "layer1.0.conv1"].map(blockPath))
      .toEqual(["blocks.0", "head", "features", "", "layer1.0"]);
    const layers = layersOf("stem", "blocks.0.a", "blocks.0.b", "blocks.1.a", "blocks.1.b", "head");
    const plan = planRows(layers, new Set(["2 blocks.0"]), () => true);
    expect(plan.blocks.map(({ path }) => path)).toEqual(["blocks.0", "blocks.1"]);
    expect(plan.lines.map(({ label }) => label)).toEqual(["input", "stem", "blocks.0", "a", "b", "head"]);
    expect([0, 1, 2, 3, 4, 6].map((row) => lineOfRow(plan, row))).toEqual([0, 1, 2, 2, 3, 5]);
  });
  it("are of what there is anything to show of", () => {
    const plan = planRows(layersOf("a", "sum", "b.0.x", "b.0.y", "c.0.x", "c.0.y"), new Set(), (row) => row === 1 || row === 4);
    expect(plan.lines.map(({ title }) => title)).toEqual(["a", "b.0.y"]);
    expect(plan.blocks.map(({ path }) => path)).toEqual(["b.0"]);
    expect([...plan.lineOf]).toEqual([-1, 0, -1, -1, 1, -1, -1]);
  });
  it("have no block that is everything", () => {
    expect(planRows(layersOf("net.0", "net.1", "net.2"), new Set(), layersOnly).blocks).toEqual([]);
  });
  it("begin joined where they are too many", () => {
    const many = layersOf(...Array.from({ length: 100 }, (_, at) => `blocks.${Math.floor(at / 10)}.${at % 10}.x`));
    expect(joinsAtFirst(many)).toBe(true);
    expect(planRows(many, new Set(), layersOnly).lines.length).toBe(10);
    expect(joinsAtFirst(many.slice(0, 30))).toBe(false);
  });
});

describe("the scale", () => {
  it("leaves out the most extreme hundredth", () => {
    const row = Array.from({ length: 1000 }, (_, at) => 2 ** (at / 100));
    row[0] = 1e-30;
    row[999] = 1e30;
    const { low, high } = scaleOf([tileOf([row])], gradient, "mean", 1);
    expect(low).toBeCloseTo(0.1, 1);
    expect(high).toBeCloseTo(9.9, 1);
  });
  it("of a gain has 1 in its middle", () => {
    const scale = scaleOf([tileOf([[0.1, 0.2, 3]])], gain, "mean", 1);
    expect(placeOf(scale, gain, code(1))).toBeCloseTo(0.5, 2);
    expect(codeAt(scale, gain, 0.5)).toBe(code(1));
  });
  it("of shares is 0 to 1, of nothing at least something", () => {
    expect(scaleOf([tileOf([[0.3]])], dead, "mean", 1)).toEqual({ low: 0, high: 1 });
    expect(placeOf({ low: 0, high: 1 }, dead, code(0.5))).toBeCloseTo(0.5, 2);
    const empty = scaleOf([tileOf([[null]])], gradient, "mean", 1);
    expect(empty.high).toBeGreaterThan(empty.low);
  });
  it("has ticks at powers of ten", () => {
    const log2 = Math.log2(10);
    expect(ticksOf({ low: -6 * log2, high: 0 }, gradient, 4).map(({ label }) => label)).toEqual(["10⁻⁶", "10⁻⁴", "10⁻²", "1"]);
  });
});

describe("what is seen", () => {
  const whole = { first: 0, last: 999 };
  it("zooms around a place, and never beyond the run", () => {
    expect(zoomed(whole, null, 0.5, 0.5)).toEqual({ first: 250, last: 749 });
    expect(zoomed(whole, null, 0.5, 0)).toEqual({ first: 0, last: 499 });
    expect(zoomed(whole, null, 0.5, 1)).toEqual({ first: 500, last: 999 });
    expect(zoomed(whole, { first: 0, last: 499 }, 4, 0.5)).toBeNull();
    expect(zoomed(whole, { first: 10, last: 13 }, 0.5, 0.5)).toEqual({ first: 10, last: 13 });
  });
  it("moves and follows", () => {
    const span = { first: 100, last: 199 };
    expect(panned(whole, span, 0.5)).toEqual({ first: 150, last: 249 });
    expect(panned(whole, span, -5)).toEqual({ first: 0, last: 99 });
    expect(panned(whole, null, 1)).toBeNull();
    expect(showing(whole, span, 150)).toEqual(span);
    expect(showing(whole, span, 200)).toEqual({ first: 101, last: 200 });
    expect(showing(whole, span, 0)).toEqual({ first: 0, last: 99 });
  });
  it("bears spans from elsewhere", () => {
    expect(clamped(whole, { first: 5000, last: 6000 })).toBeNull();
    expect(clamped(whole, { first: 5000, last: 5100 })).toEqual({ first: 899, last: 999 });
    expect(between(whole, 30, 20)).toEqual({ first: 20, last: 30 });
    expect(between(whole, 20, 20)).toEqual({ first: 19, last: 22 });
  });
  it("has round steps below it", () => {
    expect(stepTicks({ first: 0, last: 999 }, 5)).toEqual([0, 200, 400, 600, 800]);
    expect(stepTicks({ first: 101, last: 104 }, 10)).toEqual([101, 102, 103, 104]);
  });
});

describe("the read-out", () => {
  const layers = layersOf("dense_1", "dense_2");
  const tile = tileOf([[null, null], [1, null], [4, 2]], [0, 0, 0, 0, HAS_NAN, 0]);
  const line = (from: number, to: number) => ({ label: "net", title: "net", from, to, block: null });
  it("tells place and number", () => {
    const reading = readingAt(tile, layers, gradient, "worst", line(1, 2), 0);
    expect([reading.row, reading.step, reading.value, reading.place, reading.text]).toEqual([1, 0, "1", "layer 1 dense_1, step 0", "1"]);
  });
  it("tells what was not measured, and what was last", () => {
    const reading = readingAt(tile, layers, gradient, "worst", line(1, 2), 1);
    expect([reading.value, reading.text]).toEqual(["", "not measured; 1 at step 0"]);
  });
  it("bears steps beyond the tile", () => {
    expect(readingAt(tile, layers, gradient, "worst", line(2, 3), 7).text).toBe("not measured; 2 at step 1");
    expect(readingAt(tileOf([[]]), layers, gradient, "worst", line(1, 2), 7).text).toBe("not measured");
  });
  it("of joined lines tells the worst", () => {
    const reading = readingAt(tile, layers, gradient, "worst", line(1, 3), 0);
    expect([reading.row, reading.value, reading.text]).toEqual([2, "NaN", "NaN, else 4"]);
    expect(reading.place).toBe("net, worst is layer 2 dense_2, step 0");
  });
});
