// SPDX-License-Identifier: Apache-2.0
// What stands in a cell, in words.
import { HAS_INF, HAS_NAN, columnOf, flagsAt, valueAt, type Plane, type Tile } from "../source/tile";
import type { Layer } from "../source/types";
import { integer, number, steps } from "../words";
import { middleOf, planeShown, type Show } from "./codes";
import type { Quantity } from "./quantities";
import type { Line } from "./rows";

export interface Reading {
  row: number; // the worst one, where a line stands for several
  step: number; // the first of the column
  lastStep: number;
  plane: Plane;
  value: string; // for programs: "" not measured
  flags: string; // "nan", "inf", "nan inf" or ""
  place: string; // in words
  text: string;
}

// As bad things go, worse is larger.
function badness(tile: Tile, quantity: Quantity, show: Show, row: number, column: number): number {
  const flags = flagsAt(tile, row, column);
  if (flags !== 0) return flags & HAS_NAN ? Infinity : Number.MAX_VALUE;
  const value = valueAt(tile, planeShown(tile, quantity, show, row, column), row, column);
  if (value === null) return -Infinity;
  if (middleOf(quantity) === 0) return value;
  return quantity.kind === "signed" ? Math.abs(value) : Math.abs(Math.log2(value / quantity.centre));
}

function worstRow(tile: Tile, quantity: Quantity, show: Show, line: Line, column: number): number {
  let worst = line.from, badnessOfWorst = badness(tile, quantity, show, worst, column);
  for (let row = line.from + 1; row < line.to; row++) {
    const bad = badness(tile, quantity, show, row, column);
    if (bad > badnessOfWorst) {
      worst = row;
      badnessOfWorst = bad;
    }
  }
  return worst;
}

function placeWords(layers: Layer[], line: Line, row: number, first: number, last: number): string {
  const layer = layers[row - 1];
  const name = layer ? `layer ${row}${layer.name ? ` ${layer.name}` : ""}` : "input";
  return `${line.to - line.from > 1 ? `${line.label}, worst is ${name}` : name}, ${steps(first, last)}`;
}

export function readingAt(tile: Tile, layers: Layer[], quantity: Quantity, show: Show, line: Line, step: number): Reading {
  const column = columnOf(tile, step);
  if (column < 0) { // the tile ends with what was measured
    const behind = tile.columns > 0 && step >= tile.starts[tile.columns]!;
    const text = `not measured${behind ? earlierWords(tile, quantity, show, line.from, tile.columns) : ""}`;
    return { row: line.from, step, lastStep: step, plane: "mean", value: "", flags: "", text, place: placeWords(layers, line, line.from, step, step) };
  }
  const row = worstRow(tile, quantity, show, line, column);
  const plane = planeShown(tile, quantity, show, row, column);
  const first = tile.starts[column]!, last = Math.max(tile.starts[column + 1]! - 1, first);
  const { value, text } = valueWords(tile, plane, row, column), flags = flagsAt(tile, row, column);
  return {
    row, step: first, lastStep: last, plane, value, place: placeWords(layers, line, row, first, last),
    flags: [flags & HAS_NAN ? "nan" : "", flags & HAS_INF ? "inf" : ""].filter(Boolean).join(" "),
    text: value === "" ? text + earlierWords(tile, quantity, show, row, column) : text,
  };
}

function earlierWords(tile: Tile, quantity: Quantity, show: Show, row: number, column: number): string {
  for (let before = column - 1; before >= 0; before--) {
    const { value, text } = valueWords(tile, planeShown(tile, quantity, show, row, before), row, before);
    if (value !== "") return `; ${text} at step ${integer(tile.starts[before]!)}`;
  }
  return "";
}

function valueWords(tile: Tile, plane: Plane, row: number, column: number): { value: string; text: string } {
  const shown = valueAt(tile, plane, row, column), flags = flagsAt(tile, row, column);
  if (shown === null) return { value: "", text: "not measured" };
  const finite = Number.isFinite(shown) ? `, else ${number(shown)}` : "";
  if (flags & HAS_NAN) return { value: "NaN", text: `NaN${finite}` };
  if (flags & HAS_INF) return { value: "Infinity", text: `infinite${finite}` };
  const low = valueAt(tile, "min", row, column) ?? NaN, high = valueAt(tile, "max", row, column) ?? NaN;
  const range = number(low) === number(high) ? "" : ` (${number(low)} … ${number(high)})`;
  return { value: String(shown), text: number(shown) + range };
}
