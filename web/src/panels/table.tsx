// SPDX-License-Identifier: Apache-2.0
// The heat map for who does not see it, and for a spreadsheet.
import { useMemo } from "preact/hooks";
import type { Layer, Series } from "../source/types";
import { type Tile, HAS_INF, HAS_NAN, flagsAt, valueAt } from "../source/tile";
import { integer, number, steps } from "../words";
import { layerName } from "./sentences";

const COLUMNS = 12;

function isMeasured(tile: Tile, row: number): boolean {
  for (let c = 0; c < tile.columns; c++) if (valueAt(tile, "mean", row, c) !== null) return true;
  return false;
}

/** Row 0 of a tile of layers is the network's input. Layers that have nothing of the series are left
 * out, as in the map; all are there where none has. */
function rowsOf(tile: Tile, layers: Layer[], series: Series): { row: number; name: string }[] {
  if (series.of === "network") return [{ row: 0, name: "network" }];
  const rows = layers.filter((l) => l.id < tile.rows).map((l) => ({ row: l.id, name: layerName(layers, l.id) }));
  const measured = rows.filter(({ row }) => isMeasured(tile, row));
  return measured.length > 0 ? measured : rows;
}

/** So many as there is room for, evenly, the last one included. */
export function chosenColumns(n: number, most: number): number[] {
  if (n <= most) return Array.from({ length: n }, (_, c) => c);
  return Array.from({ length: most }, (_, k) => Math.round((k * (n - 1)) / (most - 1)));
}

/** Columns with a value in some row: full records are seldom. All where there is none. */
export function measuredColumns(tile: Tile): number[] {
  const all = Array.from({ length: tile.columns }, (_, c) => c);
  const measured = all.filter((c) => {
    for (let row = 0; row < tile.rows; row++) if (valueAt(tile, "mean", row, c) !== null) return true;
    return false;
  });
  return measured.length > 0 ? measured : all;
}

function flagWords(flags: number): string {
  return [flags & HAS_NAN ? "NaN" : "", flags & HAS_INF ? "Inf" : ""].filter(Boolean).join(", ");
}

function Cell({ tile, row, column }: { tile: Tile; row: number; column: number }) {
  const value = valueAt(tile, "mean", row, column);
  const flags = flagWords(flagsAt(tile, row, column));
  const data = {
    "data-layer": row, "data-step": tile.starts[column], "data-last-step": tile.starts[column + 1]! - 1,
    "data-value": value === null ? "" : String(value),
  };
  if (value === null) return <td {...data} class="absent">–<span class="hidden"> not measured</span></td>;
  if (Number.isNaN(value)) return <td {...data} class="bad">{flags || "NaN"}</td>;
  return <td {...data} class={flags ? "bad" : ""}>{number(value)}{flags && ` and ${flags}`}</td>;
}

export interface MapTableProps {
  tile: Tile;
  layers: Layer[];
  series: Series;
}

export function MapTable({ tile, layers, series }: MapTableProps) {
  const measured = useMemo(() => measuredColumns(tile), [tile]);
  const columns = chosenColumns(measured.length, COLUMNS).map((i) => measured[i]!);
  return (
    <div class="map-table" tabIndex={0} role="group" aria-label="Table, scrolls">
      <table>
        <caption>
          Heat map as a table<span class="hidden">: {series.name}</span>
          <small>{series.name.replaceAll("_", " ")}: {series.meaning}; means over the steps of a column
            {columns.length < tile.columns && `, ${columns.length} of ${integer(tile.columns)} columns`}</small>
        </caption>
        <thead>
          <tr>
            <th scope="col">layer</th>
            {columns.map((c) => <th key={c} scope="col">{steps(tile.starts[c]!, tile.starts[c + 1]! - 1)}</th>)}
          </tr>
        </thead>
        <tbody>
          {rowsOf(tile, layers, series).map(({ row, name }) => (
            <tr key={row}>
              <th scope="row">{row > 0 && <span class="layer-id">{row}</span>} <bdi>{name}</bdi></th>
              {columns.map((c) => <Cell key={c} tile={tile} row={row} column={c} />)}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** Quoted; a spreadsheet must not take a name for a formula. */
function quoted(name: string): string {
  const harmless = /^[=+\-@\t\r]/.test(name) ? `'${name}` : name;
  return `"${harmless.replaceAll('"', '""')}"`;
}

/** Empty: not measured. Where a column had NaN or infinite values beside others, the flags tell. */
function csvCells(tile: Tile, row: number, column: number): string {
  const told = (plane: "mean" | "min" | "max"): string => {
    const value = valueAt(tile, plane, row, column);
    return value === null ? "" : String(value);
  };
  return `${told("mean")},${told("min")},${told("max")},${flagWords(flagsAt(tile, row, column)).replace(", ", " ")}`;
}

/** All columns, one line a layer and column. */
export function toCsv(tile: Tile, layers: Layer[], series: Series): string {
  const name = quoted(series.name);
  const lines = ["layer,name,series,first_step,last_step,mean,min,max,not_finite"];
  for (const { row, name: layer } of rowsOf(tile, layers, series))
    for (let c = 0; c < tile.columns; c++)
      lines.push(`${row},${quoted(layer)},${name},${tile.starts[c]},${tile.starts[c + 1]! - 1},${csvCells(tile, row, c)}`);
  return `${lines.join("\r\n")}\r\n`;
}
