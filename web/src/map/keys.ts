// SPDX-License-Identifier: Apache-2.0
// What keys do on the map.
import type { Span } from "../source/source";
import { columnOf, type Tile } from "../source/tile";
import type { Window } from "./paint";
import type { Plan } from "./rows";
import { panned, showing, zoomed } from "./view";

export interface Rows {
  top: number; // lines
  bottom: number;
}

export interface Place {
  whole: Span;
  span: Span | null;
  window: Window;
  plan: Plan;
  rows: Rows | null; // null: all
  step: number; // of the cursor
  line: number; // -1: none
  tile: Tile | null; // there
}

export interface Moves {
  onSpan(span: Span | null): void;
  onRows(rows: Rows | null): void;
  onCursor(step: number, line: number): void;
  onToggle(line: number): void; // of a block
}

const FEWEST_LINES = 4;
const FAR = 10; // columns or layers, with Shift

/** The step so many columns away. */
function neighbour(tile: Tile | null, step: number, columns: number): number {
  const column = tile ? columnOf(tile, step) : -1;
  if (!tile || column < 0) return step + columns;
  const to = Math.min(Math.max(column + columns, 0), tile.columns - 1);
  return to === column ? step + Math.sign(columns) : tile.starts[to]!;
}

function rowsWith(rows: Rows, line: number): Rows {
  if (line >= rows.top && line < rows.bottom) return rows;
  const size = rows.bottom - rows.top, top = line < rows.top ? line : line - size + 1;
  return { top, bottom: top + size };
}

function rowsZoomed({ window, plan, line }: Place, factor: number): Rows | null {
  const size = Math.max(FEWEST_LINES, Math.round((window.bottom - window.top) * factor)), { length } = plan.lines;
  if (size >= length) return null;
  const middle = line < 0 ? (window.top + window.bottom) / 2 : line + 0.5;
  const top = Math.min(Math.max(Math.round(middle - size / 2), 0), length - size);
  return { top, bottom: top + size };
}

function go(place: Place, moves: Moves, step: number, line: number): void {
  const { whole, span, plan, rows } = place;
  const to = Math.min(Math.max(step, whole.first), whole.last);
  const shown = line < 0 ? -1 : Math.min(line, plan.lines.length - 1);
  moves.onSpan(showing(whole, span, to));
  if (rows && shown >= 0) moves.onRows(rowsWith(rows, shown));
  moves.onCursor(to, shown);
}

function zoomAtCursor({ whole, span, window, step }: Place, factor: number): Span | null {
  const at = (step + 0.5 - window.first) / (window.end - window.first);
  return zoomed(whole, span, factor, at >= 0 && at <= 1 ? at : 0.5);
}

/** Null: not our key. */
export function commandOf(event: KeyboardEvent, place: Place, moves: Moves): (() => void) | null {
  if (event.ctrlKey || event.metaKey || event.altKey) return null;
  const { whole, span, plan, step, line, tile } = place;
  const far = event.shiftKey ? FAR : 1;
  const closer = (): void => moves.onSpan(zoomAtCursor(place, 0.5));
  const commands: Record<string, () => void> = {
    ArrowLeft: () => go(place, moves, neighbour(tile, step, -far), line),
    ArrowRight: () => go(place, moves, neighbour(tile, step, far), line),
    ArrowUp: () => go(place, moves, step, line < 0 ? plan.lines.length - 1 : Math.max(line - far, 0)),
    ArrowDown: () => go(place, moves, step, line < 0 ? 0 : line + far),
    PageUp: () => moves.onSpan(panned(whole, span, -0.5)),
    PageDown: () => moves.onSpan(panned(whole, span, 0.5)),
    Home: () => go(place, moves, whole.first, line),
    End: () => go(place, moves, whole.last, line),
    "+": closer, "=": closer,
    "-": () => moves.onSpan(zoomAtCursor(place, 2)),
    "]": () => moves.onRows(rowsZoomed(place, 0.5)),
    "[": () => moves.onRows(rowsZoomed(place, 2)),
    0: () => {
      moves.onSpan(null);
      moves.onRows(null);
    },
    Enter: () => moves.onToggle(line),
  };
  return (Object.hasOwn(commands, event.key) && commands[event.key]) || null;
}
