// SPDX-License-Identifier: Apache-2.0
// From codes to pixels. Where several columns or rows fall on one pixel, the worst of them is shown:
// what is no number first, then the largest (or what is farthest from the middle).
import { CODE_ABSENT, CODE_INF, CODE_LAST, CODE_NAN, CODE_ZERO, type Tile } from "../source/tile";
import type { Patterns } from "./colours";
import type { Line } from "./rows";

export interface Layer {
  tile: Tile;
  codes: Uint16Array;
}

export interface Window {
  first: number; // step at the left edge, and behind the right edge
  end: number;
  top: number; // lines, fractions too
  bottom: number;
}

export interface Picture {
  width: number; // device pixels
  height: number;
  codes: Uint16Array; // [height][width]
}

interface Stretch {
  layer: Layer;
  from: number; // pixels
  to: number;
  low: Int32Array; // by pixel - from: its columns low … high - 1
  high: Int32Array;
}

const SPECIAL_PIXELS = 3; // so wide and high at least is what is no number

// Which tile's columns each pixel shows: the first tile that reaches there.
function stretchesOf(layers: Layer[], window: Window, width: number): Stretch[] {
  const stretches: Stretch[] = [];
  const steps = (window.end - window.first) / width;
  let open: Stretch | undefined;
  for (let x = 0; x < width; x++) {
    const from = window.first + x * steps, to = from + steps;
    const middle = (from + to) / 2;
    const layer = layers.find(({ tile }) => tile.columns > 0 && middle >= tile.starts[0]! && middle < tile.starts[tile.columns]!);
    if (!layer) {
      open = undefined;
      continue;
    }
    if (open?.layer !== layer) {
      open = { layer, from: x, to: x, low: new Int32Array(width - x), high: new Int32Array(width - x) };
      stretches.push(open);
    }
    const before = x > open.from ? open.low[x - 1 - open.from]! : 0;
    const low = advance(layer.tile, before, steps < 1 ? middle : from);
    open.low[x - open.from] = low;
    open.high[x - open.from] = columnsUntil(layer.tile, low, steps < 1 ? middle : to);
    open.to = x + 1;
  }
  return stretches;
}

// The column that holds a step, looked for from one that lies before it.
function advance(tile: Tile, column: number, step: number): number {
  if (column === 0) {
    let low = 0, high = tile.columns;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (tile.starts[middle]! <= step) low = middle;
      else high = middle;
    }
    return low;
  }
  while (column + 1 < tile.columns && tile.starts[column + 1]! <= step) column++;
  return column;
}

function columnsUntil(tile: Tile, low: number, step: number): number {
  let high = low + 1;
  while (high < tile.columns && tile.starts[high]! < step) high++;
  return high;
}

/** middle: of codesOf's middleOf. */
export function picture(layers: Layer[], lines: Line[], window: Window, width: number, height: number,
  middle: number): Picture {
  const codes = new Uint16Array(width * height).fill(CODE_ABSENT);
  const stretches = stretchesOf(layers, window, width);
  const linesPerPixel = (window.bottom - window.top) / height;
  let before = -1, beforeEnd = -1, special = false;
  for (let y = 0; y < height; y++) {
    const top = window.top + y * linesPerPixel;
    const from = Math.floor(linesPerPixel < 1 ? top + linesPerPixel / 2 : top + 1e-9);
    const to = linesPerPixel < 1 ? from + 1 : Math.max(from + 1, Math.floor(top + linesPerPixel + 1e-9));
    if (from === before && to === beforeEnd) {
      codes.copyWithin(y * width, (y - 1) * width, y * width);
      continue;
    }
    before = from;
    beforeEnd = to;
    const first = lines[from], last = lines[Math.min(to, lines.length) - 1];
    if (!first || !last) continue;
    for (const stretch of stretches)
      special = joinRows(stretch, first.from, last.to, codes, y * width, middle) || special;
  }
  if (special) widen({ width, height, codes });
  return { width, height, codes };
}

// True: there was something that is no number.
function joinRows(stretch: Stretch, rowFrom: number, rowTo: number, codes: Uint16Array, at: number,
  middle: number): boolean {
  const { tile } = stretch.layer, cells = stretch.layer.codes;
  const end = Math.min(rowTo, tile.rows);
  let special = false;
  for (let row = rowFrom; row < end; row++) {
    const start = row * tile.columns;
    for (let x = stretch.from; x < stretch.to; x++) {
      let worst = codes[at + x]!;
      const to = start + stretch.high[x - stretch.from]!;
      for (let cell = start + stretch.low[x - stretch.from]!; cell < to; cell++) {
        const code = cells[cell]!;
        if (code !== worst && isWorse(code, worst, middle)) worst = code;
      }
      codes[at + x] = worst;
      if (worst >= CODE_INF) special = true;
    }
  }
  return special;
}

function isWorse(code: number, than: number, middle: number): boolean {
  if (code === CODE_ABSENT) return false;
  if (than === CODE_ABSENT || code >= CODE_INF) return code >= than || than === CODE_ABSENT;
  if (than >= CODE_INF) return false;
  return middle === 0 ? code > than : Math.abs(code - middle) > Math.abs(than - middle);
}

// A single bad step among a million is a pixel at most: make it one that is seen.
function widen(image: Picture): void {
  const { width, height, codes } = image;
  const reach = SPECIAL_PIXELS >> 1;
  const rows = codes.slice();
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const code = rows[y * width + x]!;
      if (code < CODE_INF) continue;
      if (surrounded(rows, width, x, y, height)) continue;
      for (let v = Math.max(y - reach, 0); v <= Math.min(y + reach, height - 1); v++)
        for (let u = Math.max(x - reach, 0); u <= Math.min(x + reach, width - 1); u++)
          if (codes[v * width + u]! < code || codes[v * width + u] === CODE_ABSENT) codes[v * width + u] = code;
    }
}

// Wide and high enough already: large parts of a run that diverged, which need no help.
function surrounded(codes: Uint16Array, width: number, x: number, y: number, height: number): boolean {
  const is = (u: number, v: number): boolean => codes[v * width + u]! >= CODE_INF;
  const wide = (x > 0 && is(x - 1, y)) || (x + 1 < width && is(x + 1, y));
  const high = (y > 0 && is(x, y - 1)) || (y + 1 < height && is(x, y + 1));
  return wide && high;
}

export function toPixels(image: Picture, table: Uint32Array, patterns: Patterns, pixels: Uint32Array): void {
  const { width, height, codes } = image, { size } = patterns;
  const pattern = (code: number): Uint32Array | undefined => patterns.of.get(code);
  const nan = pattern(CODE_NAN)!, inf = pattern(CODE_INF)!, absent = pattern(CODE_ABSENT)!, zero = pattern(CODE_ZERO);
  for (let y = 0, at = 0; y < height; y++) {
    const band = (y % size) * size;
    for (let x = 0; x < width; x++, at++) {
      const code = codes[at]!;
      if (code > CODE_ZERO && code <= CODE_LAST) pixels[at] = table[code]!;
      else if (code === CODE_ZERO) pixels[at] = zero ? zero[band + x % size]! : table[0]!;
      else pixels[at] = (code === CODE_NAN ? nan : code === CODE_INF ? inf : absent)[band + x % size]!;
    }
  }
}
