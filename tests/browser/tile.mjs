// SPDX-License-Identifier: Apache-2.0
// A second reader of the server's tiles (src/report/tile.h), written against the format and not
// against the page: what the page shows is held against it.
const PER_OCTAVE = 228, MIN_EXPONENT = -152, ABSENT = 65533, INF = 65534, NAN = 65535;
const ABSENT_BITS = 0x7ff80000bad0bad0n;

function log16(code) {
  if (code === 0) return 0;
  if (code === NAN) return NaN;
  if (code === INF) return Infinity;
  return code === ABSENT ? null : 2 ** (MIN_EXPONENT + (code - 1) / PER_OCTAVE);
}

/** {nRows, nColumns, lastStep, firstOctave, starts, at(row, column) -> {mean, min, max, nan, inf}};
 * null is what was not measured. */
export function readTile(view) {
  const magic = String.fromCharCode(...[0, 1, 2, 3].map((at) => view.getUint8(at)));
  if (magic !== "BPT1") throw new Error(`no tile: ${magic}`);
  const u32 = (at) => view.getUint32(at, true);
  const [codec, nRows, nColumns] = [u32(4), u32(8), u32(12)];
  const nCells = nRows * nColumns, size = codec === 0 ? 2 : 8;
  const planeBytes = Math.ceil((nCells * size) / 8) * 8;
  const planesAt = 32 + 8 * (nColumns + 1), flagsAt = planesAt + 3 * planeBytes;
  const number = (at) => codec === 0 ? log16(view.getUint16(at, true))
    : view.getBigUint64(at, true) === ABSENT_BITS ? null : view.getFloat64(at, true);
  const starts = Array.from({ length: nColumns + 1 }, (_, c) => view.getFloat64(32 + 8 * c, true));
  return {
    nRows, nColumns, starts,
    lastStep: Number(view.getBigInt64(16, true)),
    firstOctave: view.getInt32(24, true),
    at(row, column) {
      const cell = row * nColumns + column, flags = view.getUint8(flagsAt + cell);
      const [mean, min, max] = [0, 1, 2].map((p) => number(planesAt + p * planeBytes + cell * size));
      return { mean, min, max, nan: (flags & 1) !== 0, inf: (flags & 2) !== 0 };
    },
    columnOf: (step) => starts.findLastIndex((start) => start <= step),
  };
}

export async function tileOf(server, id, series, { first, last, columns }) {
  const query = new URLSearchParams({ series, first, last, columns });
  return readTile(await server.bytes(`/api/runs/${id}/tile?${query}`));
}

/** Numbers that are the same but for the last bits of a power; both may be null. */
export function same(a, b) {
  if (a === null || b === null || a === 0 || b === 0) return a === b;
  return Object.is(a, b) || Math.abs(a / b - 1) < 1e-9;
}
