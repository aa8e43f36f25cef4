// SPDX-License-Identifier: Apache-2.0
// One 16-bit number a cell, ready to be joined and painted: the worst of what the cell holds, or its
// mean. Numbers that are not finite stick: a single one in a cell is seen whatever else it holds. What
// is kept of a cell is its rank: of two ranks the larger is the worse, so that a million cells are
// joined by taking the largest.
import {
  CODE_ABSENT, CODE_INF, CODE_LAST, CODE_NAN, CODE_ZERO, HAS_INF, HAS_NAN, codeOfLog2, valueAt,
  type Plane, type Tile,
} from "../source/tile";
import type { Quantity } from "./quantities";

export type Show = "worst" | "mean";

/** Signed numbers have no logarithm: codes are then linear between −1 and 1 times this. */
export const SIGNED_MIDDLE = 1 + (CODE_LAST >> 1);

const cache = new WeakMap<Tile, Map<string, Uint16Array>>();

export const RANK_ABSENT = 0;
const RANK_FARTHEST = 65_533; // zero where what counts is the distance from a middle: no factor is smaller
export const RANK_INF = CODE_INF; // and CODE_NAN: both ways alike

/** middle: of middleOf. */
export function rankOf(code: number, middle: number): number {
  if (code >= CODE_INF) return code;
  if (code === CODE_ABSENT) return RANK_ABSENT;
  if (middle === 0) return code + 1;
  if (code === CODE_ZERO && middle !== SIGNED_MIDDLE) return RANK_FARTHEST;
  return 1 + 2 * Math.min(Math.abs(code - middle), 32_000) + (code > middle ? 1 : 0);
}

/** The code of a rank; of what is very far from the middle, one that is as far as colours go. */
export function codeOfRank(rank: number, middle: number): number {
  if (rank >= RANK_INF) return rank;
  if (rank === RANK_ABSENT) return CODE_ABSENT;
  if (middle === 0) return rank - 1;
  if (rank === RANK_FARTHEST) return CODE_ZERO;
  const far = (rank - 1) >> 1;
  return Math.min(Math.max((rank - 1) & 1 ? middle + far : middle - far, CODE_ZERO + 1), CODE_LAST);
}

/** [rows][columns] of ranks; signedSize: what the largest code of a signed quantity stands for. */
export function ranksOf(tile: Tile, quantity: Quantity, show: Show, signedSize: number): Uint16Array {
  const key = `${quantity.name} ${show} ${quantity.kind === "signed" ? signedSize : ""}`;
  let kept = cache.get(tile);
  if (!kept) cache.set(tile, kept = new Map());
  let ranks = kept.get(key);
  if (!ranks) {
    ranks = make(tile, quantity, show, signedSize);
    kept.clear(); // one is shown at a time
    kept.set(key, ranks);
  }
  return ranks;
}

function make(tile: Tile, quantity: Quantity, show: Show, signedSize: number): Uint16Array {
  const codes = show === "mean" ? plane(tile, "mean", quantity, signedSize) : worst(tile, quantity, signedSize);
  const { flags } = tile, middle = middleOf(quantity);
  const ranks = new Uint16Array(65536);
  for (let code = 0; code < ranks.length; code++) ranks[code] = rankOf(code, middle);
  for (let cell = 0; cell < codes.length; cell++) {
    const flag = flags[cell]!;
    codes[cell] = flag & HAS_NAN ? CODE_NAN : flag & HAS_INF ? CODE_INF : ranks[codes[cell]!]!;
  }
  return codes;
}

// The codes of the extreme that is worse.
function worst(tile: Tile, quantity: Quantity, signedSize: number): Uint16Array {
  const codes = plane(tile, "max", quantity, signedSize);
  const middle = middleOf(quantity);
  if (middle === 0) return codes;
  const low = plane(tile, "min", quantity, signedSize);
  for (let cell = 0; cell < codes.length; cell++)
    if (codes[cell]! <= CODE_LAST && middle - low[cell]! > codes[cell]! - middle) codes[cell] = low[cell]!;
  return codes;
}

/** The code from which a quantity is worse the farther it is, either way; 0: the larger, the worse. */
export function middleOf(quantity: Quantity): number {
  if (quantity.kind === "ratio") return codeOfLog2(Math.log2(quantity.centre));
  return quantity.kind === "signed" ? SIGNED_MIDDLE : 0;
}

/** Of which plane the shown number is: so that it can be told in words. */
export function planeShown(tile: Tile, quantity: Quantity, show: Show, row: number, column: number): Plane {
  if (show === "mean") return "mean";
  const low = valueAt(tile, "min", row, column), high = valueAt(tile, "max", row, column);
  if (low === null || high === null || middleOf(quantity) === 0) return "max";
  if (quantity.kind === "signed") return -low > high ? "min" : "max";
  return quantity.centre / low > high / quantity.centre ? "min" : "max";
}

function plane(tile: Tile, which: Plane, quantity: Quantity, signedSize: number): Uint16Array {
  const values = tile[which];
  if (values instanceof Uint16Array) return values.slice();
  const codes = new Uint16Array(values.length);
  for (let row = 0, cell = 0; row < tile.rows; row++)
    for (let column = 0; column < tile.columns; column++, cell++)
      codes[cell] = codeOf(valueAt(tile, which, row, column), quantity, signedSize);
  return codes;
}

function codeOf(value: number | null, quantity: Quantity, signedSize: number): number {
  if (value === null) return CODE_ABSENT;
  if (Number.isNaN(value)) return CODE_NAN;
  if (quantity.kind === "signed") {
    const share = Math.min(Math.max(value / signedSize, -1), 1);
    return Math.round(SIGNED_MIDDLE + share * (SIGNED_MIDDLE - 1));
  }
  if (!Number.isFinite(value)) return CODE_INF;
  return value === 0 ? CODE_ZERO : codeOfLog2(Math.log2(Math.abs(value)));
}
