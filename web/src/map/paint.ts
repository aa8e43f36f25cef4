// SPDX-License-Identifier: Apache-2.0
// From ranks (codes.ts) to pixels. Where several columns or rows fall on one pixel, the worst of them
// is shown: what is no number first, then the largest (or what is farthest from the middle).
import { CODE_ABSENT, type Tile } from "../source/tile";
import { RANK_ABSENT, RANK_INF, codeOfRank } from "./codes";
import { CODE_HELD, type Patterns, type Tables } from "./colours";
import type { Line } from "./rows";

export interface Layer {
  tile: Tile;
  ranks: Uint16Array;
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
  ranks: Uint16Array; // [height][width]
  before: Uint16Array; // [height]: the last that was measured left of the picture
  after: Uint16Array; // and the first right of it
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

export function picture(layers: Layer[], lines: Line[], window: Window, width: number, height: number): Picture {
  const ranks = new Uint16Array(width * height); // RANK_ABSENT
  const stretches = stretchesOf(layers, window, width);
  const linesPerPixel = (window.bottom - window.top) / height;
  const before = new Uint16Array(height), after = new Uint16Array(height);
  let lastFrom = -1, lastTo = -1, special = false;
  for (let y = 0; y < height; y++) {
    const top = window.top + y * linesPerPixel;
    const from = Math.floor(linesPerPixel < 1 ? top + linesPerPixel / 2 : top + 1e-9);
    const to = linesPerPixel < 1 ? from + 1 : Math.max(from + 1, Math.floor(top + linesPerPixel + 1e-9));
    if (from === lastFrom && to === lastTo) {
      ranks.copyWithin(y * width, (y - 1) * width, y * width);
      before[y] = before[y - 1]!;
      after[y] = after[y - 1]!;
      continue;
    }
    lastFrom = from;
    lastTo = to;
    const first = lines[from], last = lines[Math.min(to, lines.length) - 1];
    if (!first || !last) continue;
    for (const stretch of stretches)
      special = joinRows(stretch, first.from, last.to, ranks, y * width) || special;
    const whole = layers.at(-1);
    if (whole && width > 0) {
      if (ranks[y * width] === RANK_ABSENT) before[y] = beyond(whole, first.from, last.to, window.first, -1);
      if (ranks[(y + 1) * width - 1] === RANK_ABSENT) after[y] = beyond(whole, first.from, last.to, window.end, 1);
    }
  }
  const image = { width, height, ranks, before, after };
  if (special) widen(image);
  return image;
}

// What was measured nearest to a step, looking one way from it.
function beyond({ tile, ranks }: Layer, rowFrom: number, rowTo: number, step: number, way: -1 | 1): number {
  if (tile.columns === 0) return RANK_ABSENT;
  const end = Math.min(rowTo, tile.rows), at = advance(tile, 0, step);
  for (let column = tile.starts[at]! < step && way === 1 ? at + 1 : at; column >= 0 && column < tile.columns; column += way) {
    let worst = RANK_ABSENT;
    for (let row = rowFrom; row < end; row++) worst = Math.max(worst, ranks[row * tile.columns + column]!);
    if (worst !== RANK_ABSENT) return worst;
  }
  return RANK_ABSENT;
}

// True: there was something that is no number.
function joinRows(stretch: Stretch, rowFrom: number, rowTo: number, ranks: Uint16Array, at: number): boolean {
  const { from, to, low, high, layer: { tile, ranks: cells } } = stretch;
  const end = Math.min(rowTo, tile.rows);
  let worstOfAll = 0;
  for (let row = rowFrom; row < end; row++) {
    const start = row * tile.columns;
    for (let x = from; x < to; x++) {
      let worst = ranks[at + x]!;
      const behind = start + high[x - from]!;
      for (let cell = start + low[x - from]!; cell < behind; cell++) {
        const rank = cells[cell]!;
        if (rank > worst) worst = rank;
      }
      ranks[at + x] = worst;
      if (worst > worstOfAll) worstOfAll = worst;
    }
  }
  return worstOfAll >= RANK_INF;
}

// A single bad step among a million is a pixel at most: make it one that is seen.
function widen(image: Picture): void {
  const { width, height, ranks } = image;
  const reach = SPECIAL_PIXELS >> 1;
  const old = ranks.slice();
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const rank = old[y * width + x]!;
      if (rank < RANK_INF || surrounded(old, width, x, y, height)) continue;
      for (let v = Math.max(y - reach, 0); v <= Math.min(y + reach, height - 1); v++)
        for (let u = Math.max(x - reach, 0); u <= Math.min(x + reach, width - 1); u++)
          if (ranks[v * width + u]! < rank) ranks[v * width + u] = rank;
    }
}

// Wide and high enough already: large parts of a run that diverged, which need no help.
function surrounded(ranks: Uint16Array, width: number, x: number, y: number, height: number): boolean {
  const is = (u: number, v: number): boolean => u >= 0 && u < width && v >= 0 && v < height && ranks[v * width + u]! >= RANK_INF;
  const three = (at: (by: number) => boolean): boolean => (at(-1) && (at(1) || at(-2))) || (at(1) && at(2));
  return three((by) => is(x + by, y)) && three((by) => is(x, y + by));
}

/** Steps between two that were measured show the earlier one, faded: full statistics are seldom. */
export function toPixels(image: Picture, middle: number, tables: Tables, patterns: Patterns, pixels: Uint32Array): void {
  const { width, height, ranks } = image;
  const { size } = patterns;
  for (let y = 0; y < height; y++) {
    const row = y * width, band = (y % size) * size;
    for (let x = 0; x < width;) {
      const rank = ranks[row + x]!, colour = tables.ranks[rank]!;
      if (rank !== RANK_ABSENT) {
        pixels[row + x] = colour || patterns.of.get(codeOfRank(rank, middle))![band + x % size]!;
        x++;
        continue;
      }
      let end = x + 1;
      while (end < width && ranks[row + end] === RANK_ABSENT) end++;
      const known = end < width || image.after[y] !== RANK_ABSENT;
      const held = known ? tables.faded[x > 0 ? ranks[row + x - 1]! : image.before[y]!]! : 0;
      const dots = patterns.of.get(held ? CODE_HELD : CODE_ABSENT)!;
      for (; x < end; x++) {
        const dot = dots[band + x % size]!;
        pixels[row + x] = held && dot === 0 ? held : dot;
      }
    }
  }
}
