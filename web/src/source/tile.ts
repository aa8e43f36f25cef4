// SPDX-License-Identifier: Apache-2.0
// A tile: what a series was over a span of steps, in columns. The format is src/report/tile.h's; the
// bytes are hostile until they were checked here.

export type Plane = "mean" | "min" | "max";
export type Values = Uint16Array | Float64Array;

export interface Tile {
  codec: "log16" | "f64";
  rows: number; // row 0 is the network, or its input; row l is layer l. Of histograms: octaves
  columns: number;
  lastStep: number; // of the series in the log, -1: none
  firstOctave: number;
  starts: Float64Array; // columns + 1: column c holds steps starts[c] … starts[c + 1] - 1
  mean: Values; // [rows][columns]
  min: Values;
  max: Values;
  flags: Uint8Array;
}

export const HAS_NAN = 1;
export const HAS_INF = 2;

const PER_OCTAVE = 228;
const MIN_EXPONENT = -152;
export const CODE_ZERO = 0;
export const CODE_FIRST = 1;
export const CODE_LAST = CODE_FIRST + PER_OCTAVE * (134 - MIN_EXPONENT);
export const CODE_ABSENT = 65533;
export const CODE_INF = 65534;
export const CODE_NAN = 65535;

const HEADER_BYTES = 32;
const MOST_ROWS = 200_000;
const MOST_COLUMNS = 16_384;
const MOST_CELLS = 16_000_000;

/** log2 of a code's value; only of CODE_FIRST … CODE_LAST. */
export const codeLog2 = (code: number): number => MIN_EXPONENT + (code - CODE_FIRST) / PER_OCTAVE;

/** The code whose value is nearest to 2^log2. */
export function codeOfLog2(log2: number): number {
  const code = Math.round((log2 - MIN_EXPONENT) * PER_OCTAVE) + CODE_FIRST;
  return Math.min(Math.max(code, CODE_FIRST), CODE_LAST);
}

export function codeValue(code: number): number {
  if (code === CODE_ZERO) return 0;
  if (code <= CODE_LAST) return 2 ** codeLog2(code);
  return code === CODE_INF ? Infinity : NaN;
}

/** Null: not measured. NaN: there were only values that are not finite; the flags say which. */
export function valueAt(tile: Tile, plane: Plane, row: number, column: number): number | null {
  if (row < 0 || row >= tile.rows || column < 0 || column >= tile.columns) return null;
  const cell = row * tile.columns + column;
  const values = tile[plane];
  if (values instanceof Uint16Array) {
    const code = values[cell]!;
    return code === CODE_ABSENT ? null : codeValue(code);
  }
  return isAbsent(values, cell) ? null : values[cell]!;
}

export function flagsAt(tile: Tile, row: number, column: number): number {
  return tile.flags[row * tile.columns + column] ?? 0;
}

// The bits of "not measured", which are those of a NaN: only whole words tell.
const absentWords = new Uint32Array([0xbad0bad0, 0x7ff80000]);

function isAbsent(values: Float64Array, cell: number): boolean {
  if (!Number.isNaN(values[cell]!)) return false;
  const words = new Uint32Array(values.buffer, values.byteOffset + 8 * cell, 2);
  return words[0] === absentWords[0] && words[1] === absentWords[1];
}

/** The column that holds a step, or -1. */
export function columnOf(tile: Tile, step: number): number {
  const { starts, columns } = tile;
  if (columns === 0 || step < starts[0]! || step >= starts[columns]!) return -1;
  let low = 0, high = columns;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (starts[middle]! <= step) low = middle;
    else high = middle;
  }
  return low;
}

const padded = (bytes: number): number => Math.ceil(bytes / 8) * 8;

/** The bytes are kept: the tile's arrays are views of them. */
export function decodeTile(bytes: ArrayBuffer): Tile {
  if (bytes.byteLength < HEADER_BYTES) throw new Error("a tile shorter than its header");
  const header = new DataView(bytes);
  if (header.getUint32(0, false) !== 0x42505431) throw new Error("not a tile: it should begin with BPT1");
  const codec = header.getUint32(4, true);
  const rows = header.getUint32(8, true), columns = header.getUint32(12, true);
  if (codec > 1) throw new Error(`a tile of unknown codec ${codec}`);
  if (rows > MOST_ROWS || columns > MOST_COLUMNS || rows * columns > MOST_CELLS)
    throw new Error(`a tile of ${rows} rows and ${columns} columns is too large to show`);
  const cells = rows * columns, width = codec === 0 ? 2 : 8;
  const startsAt = HEADER_BYTES, meanAt = startsAt + 8 * (columns + 1);
  const plane = padded(cells * width), flagsAt = meanAt + 3 * plane;
  if (bytes.byteLength !== flagsAt + padded(cells))
    throw new Error(`a tile of ${rows} × ${columns} has ${flagsAt + padded(cells)} bytes, this one ${bytes.byteLength}`);
  const view = (index: number): Values => codec === 0
    ? new Uint16Array(bytes, meanAt + index * plane, cells)
    : new Float64Array(bytes, meanAt + index * plane, cells);
  const starts = new Float64Array(bytes, startsAt, columns + 1);
  checkStarts(starts);
  return {
    codec: codec === 0 ? "log16" : "f64",
    rows, columns, starts,
    lastStep: Number(header.getBigInt64(16, true)),
    firstOctave: header.getInt32(24, true),
    mean: view(0), min: view(1), max: view(2),
    flags: new Uint8Array(bytes, flagsAt, cells),
  };
}

function checkStarts(starts: Float64Array): void {
  for (let c = 1; c < starts.length; c++)
    if (!(starts[c]! > starts[c - 1]!)) throw new Error("a tile whose steps do not rise");
  if (starts.length > 1 && !(starts[0]! >= 0 && starts[starts.length - 1]! <= Number.MAX_SAFE_INTEGER))
    throw new Error("a tile whose steps are out of range");
}

/** The columns that hold steps first … last, of a tile that may hold more. Copies what it keeps. */
export function cropTile(tile: Tile, first: number, last: number): Tile {
  let from = 0, to = tile.columns;
  while (from < to && tile.starts[from + 1]! <= first) from++;
  while (to > from && tile.starts[to - 1]! > last) to--;
  if (from === 0 && to === tile.columns) return tile;
  const columns = to - from;
  const crop = <T extends Values | Uint8Array>(values: T): T => {
    const kept = values.slice(0, tile.rows * columns) as T;
    for (let row = 0; row < tile.rows; row++)
      kept.set(values.subarray(row * tile.columns + from, row * tile.columns + to), row * columns);
    return kept;
  };
  return {
    ...tile, columns, starts: tile.starts.slice(from, to + 1),
    mean: crop(tile.mean), min: crop(tile.min), max: crop(tile.max), flags: crop(tile.flags),
  };
}
