// SPDX-License-Identifier: Apache-2.0
// The map of a run: layers down, steps to the right, a quantity as colour.
import { useCallback, useMemo, useRef, useState } from "preact/hooks";
import type { Span } from "../source/source";
import { columnOf, valueAt, type Tile } from "../source/tile";
import type { Finding, Run } from "../source/types";
import type { ThemeColours } from "../theme";
import { integer, plural } from "../words";
import type { Show } from "./codes";
import { patternsOf, tablesOf, type Scheme } from "./colours";
import { useGestures, type Point } from "./gestures";
import { Gutter } from "./Gutter";
import { commandOf, type Rows } from "./keys";
import { Legend } from "./Legend";
import { Marks, Overlay, type Mark } from "./Overlay";
import type { Window } from "./paint";
import { placed } from "./place";
import type { Quantity } from "./quantities";
import { Raster } from "./Raster";
import { readingAt, type Reading } from "./readout";
import { blockKey, lineOfRow, planRows, type Block } from "./rows";
import type { Scale } from "./scale";
import { between, panned, stepTicks, zoomed } from "./view";

export interface HeatMapProps {
  run: Run;
  label: string; // of the map, for who cannot see it
  whole: Span;
  span: Span | null; // null: the whole
  wholeTile: Tile | null;
  detail: Tile | null; // of the span, finer
  busy: boolean;
  quantity: Quantity;
  show: Show;
  scheme: Scheme;
  scale: Scale;
  signedSize: number;
  theme: ThemeColours;
  gutter: number; // pixels
  step: number | null;
  layer: number | null;
  marks: Mark[];
  brushed: Finding | null;
  onSpan(span: Span | null): void;
  onCell(step: number, layer: number | null): void;
  onFinding(mark: Mark): void;
}

const TALLEST = 600;
const rowPixels = (lines: number): number => (lines <= 10 ? 30 : lines <= 16 ? 24 : lines <= 30 ? 18 : 14);

const mapHeight = (lines: number): number => Math.min(lines * rowPixels(lines), TALLEST);

function useWidth(): [number, (element: HTMLElement | null) => void] {
  const [width, setWidth] = useState(0);
  const observer = useRef<ResizeObserver | null>(null);
  const ref = useCallback((element: HTMLElement | null) => {
    observer.current?.disconnect();
    if (!element) return;
    const measure = (): void => setWidth(Math.floor(element.clientWidth));
    observer.current = new ResizeObserver(measure);
    observer.current.observe(element);
    measure();
  }, []);
  return [width, ref];
}

function rowIsMeasured(tile: Tile, row: number): boolean {
  for (let column = 0; column < tile.columns; column++) if (valueAt(tile, "mean", row, column) !== null) return true;
  return false;
}

// Of which rows there is anything to show: sums have no weights, and only some layers a gain. Of the
// input only what was measured, of layers all while nothing is known.
function measuredRows(tile: Tile | null, layers: number): (row: number) => boolean {
  const rows = Array.from({ length: layers + 1 }, (_, row) => tile !== null && rowIsMeasured(tile, row));
  return rows.some((is) => is) ? (row) => rows[row]! : (row) => row > 0;
}

// The lines of the map, and which of them are seen.
function useLines(run: Run, wholeTile: Tile | null) {
  const [toggled, setToggled] = useState<ReadonlySet<string>>(new Set());
  const [rows, setRows] = useState<Rows | null>(null); // null: all
  const { layers } = run.findings.network;
  const has = useMemo(() => measuredRows(wholeTile, layers.length), [wholeTile, layers]);
  const plan = useMemo(() => planRows(layers, toggled, has), [layers, toggled, has]);
  const leftOut = layers.filter((_, at) => !has(at + 1)).length;
  const seen = rows && rows.top < plan.lines.length ? { top: rows.top, bottom: Math.min(rows.bottom, plan.lines.length) } : null;
  const toggle = (blocks: Block[]): void => {
    setRows(null);
    setToggled((old) => {
      const next = new Set(old);
      for (const key of blocks.map(blockKey)) if (!next.delete(key)) next.add(key);
      return next;
    });
  };
  return { plan, leftOut, rows: seen, setRows, toggle };
}

const THIN = 12; // pixels: lines that are lower are framed together with steps

export function HeatMap(props: HeatMapProps) {
  const { run, whole, span, wholeTile, detail, quantity, show, step, layer, theme } = props;
  const [hover, setHover] = useState<Point | null>(null);
  const [frame, setFrame] = useState<{ from: Point; to: Point } | null>(null);
  const [width, widthRef] = useWidth();
  const holder = useRef<HTMLDivElement>(null);
  const { plan, leftOut, rows, setRows, toggle } = useLines(run, wholeTile);

  const height = mapHeight(plan.lines.length), seen = span ?? whole;
  const window: Window = { first: seen.first, end: seen.last + 1, ...(rows ?? { top: 0, bottom: plan.lines.length }) };
  const thin = height / (window.bottom - window.top) < THIN && plan.lines.length > 1;
  const line = layer === null ? -1 : lineOfRow(plan, layer);

  const tileAt = (at: number): Tile | null => (detail && columnOf(detail, at) >= 0 ? detail : wholeTile);
  const stepAt = (x: number): number => Math.min(Math.floor(window.first + x * (window.end - window.first)), seen.last);
  const lineAt = (y: number): number => Math.min(Math.floor(window.top + y * (window.bottom - window.top)), plan.lines.length - 1);
  const read = (at: number, which: number): Reading | null => {
    const tile = tileAt(at), shown = plan.lines[which];
    return tile && shown ? readingAt(tile, run.findings.network.layers, quantity, show, shown, at) : null;
  };
  const readRow = (at: number, row: number): Reading | null => { // of a layer that is left out
    const tile = tileAt(at), name = run.findings.network.layers[row - 1]?.name ?? "";
    return tile && row < tile.rows ? readingAt(tile, run.findings.network.layers, quantity, show,
      { label: name, title: name, from: row, to: row + 1, block: null }, at) : null;
  };
  const choose = (at: number, which: number): void =>
    props.onCell(at, which < 0 ? null : read(at, which)?.row ?? plan.lines[which]!.from);

  useGestures(holder, {
    hover: setHover,
    select: (point) => choose(stepAt(point.x), lineAt(point.y)),
    frame: (from, to, done) => {
      setFrame(done ? null : { from, to });
      if (!done) return;
      props.onSpan(between(whole, stepAt(from.x), stepAt(to.x)));
      const top = lineAt(Math.min(from.y, to.y)), bottom = lineAt(Math.max(from.y, to.y)) + 1;
      if (thin && bottom - top < (window.bottom - window.top) * 0.8) setRows({ top, bottom });
    },
    pan: (share) => props.onSpan(panned(whole, span, share)),
    zoom: (factor, place) => props.onSpan(zoomed(whole, span, factor, place)),
  });

  const cursor = step ?? seen.last;
  const onKey = (event: KeyboardEvent): void => {
    const command = commandOf(event, { whole, span, window, plan, rows, step: cursor, line, tile: tileAt(cursor) }, {
      onSpan: props.onSpan, onRows: setRows, onCursor: choose,
      onToggle: (which) => {
        const block = plan.lines[which]?.block;
        if (block) toggle([block]);
      },
    });
    if (!command) return;
    event.preventDefault();
    setHover(null);
    command();
  };

  const at = hover && !frame ? { step: stepAt(hover.x), line: lineAt(hover.y) } : null;
  const chosen = step === null || layer === null ? null : line >= 0 ? read(step, line) : readRow(step, layer);
  const reading = at ? read(at.step, at.line) : chosen;
  const hovered = at && reading ? { first: reading.step, last: reading.lastStep } : null;
  const tables = useMemo(() => tablesOf(quantity, props.scale, props.scheme, theme), [quantity, props.scale, props.scheme, theme]);
  const ratio = globalThis.devicePixelRatio || 1;
  const patterns = useMemo(() => patternsOf(quantity, theme, ratio), [quantity, theme, ratio]);
  return (
    <div class="map">
      <div class="map-grid" ref={(element) => element?.style.setProperty("--gutter", `${props.gutter}px`)}>
        <Gutter plan={plan} top={window.top} bottom={window.bottom} height={height} current={line} onToggle={toggle}
          onAll={rows && (() => setRows(null))} />
        <div class="map-plot" ref={widthRef}>
          <Marks marks={props.marks} window={window} width={width} brushed={props.brushed} onFinding={props.onFinding} />
          <div ref={holder} class="map-holder" role="application" tabIndex={0} aria-label={props.label} aria-busy={props.busy}
            aria-describedby="map-keys" data-first={seen.first} data-last={seen.last} data-columns={(detail ?? wholeTile)?.columns ?? 0}
            data-rows={plan.lines.length} onKeyDown={onKey}>
            <Raster detail={detail} wholeTile={wholeTile} plan={plan} window={window} width={width} height={height} ratio={ratio}
              quantity={quantity} show={show} signedSize={props.signedSize} tables={tables} patterns={patterns} />
            {!wholeTile && !detail && <p class="map-waiting">Reading the map…</p>}
            {width > 0 && <Overlay plan={plan} window={window} width={width} height={height} marks={props.marks} brushed={props.brushed}
              step={step} line={line} hovered={hovered} frame={frame && frameOf(frame, thin, width, height)} />}
          </div>
          <StepAxis span={seen} width={width} />
          {leftOut > 0 && <p class="left-out">{plural(leftOut, "layer")} without {quantity.label.toLowerCase()}: not shown</p>}
        </div>
      </div>
      <div class="map-foot">
        <Readout reading={reading} quantity={quantity} />
        <Legend quantity={quantity} scale={props.scale} tables={tables} patterns={patterns} />
      </div>
    </div>
  );
}

// In pixels. Lines are framed only where they are too thin to be read.
function frameOf({ from, to }: { from: Point; to: Point }, thin: boolean, width: number, height: number) {
  const x = { x0: from.x * width, x1: to.x * width };
  return thin ? { ...x, y0: from.y * height, y1: to.y * height } : { ...x, y0: 0, y1: height };
}

function Readout({ reading, quantity }: { reading: Reading | null; quantity: Quantity }) {
  if (!reading) return <p class="readout" role="status" data-value=""><span class="hint-text">Point at the map, or move over it with the arrow keys.</span></p>;
  return (
    <p class="readout" role="status" data-layer={reading.row} data-step={reading.step} data-last-step={reading.lastStep}
      data-value={reading.value} data-plane={reading.plane} data-flags={reading.flags}>
      <span class="readout-place">{reading.place}: </span>
      <span class="readout-value"><span class="readout-quantity">{quantity.label.toLowerCase()}</span> {reading.text}</span>
    </p>
  );
}

function StepAxis({ span, width }: { span: Span; width: number }) {
  const length = span.last - span.first + 1;
  return (
    <div class="step-axis">
      {stepTicks(span, width / 90).map((tick) => {
        const x = (tick + 0.5 - span.first) / length * width;
        const side = x < 20 ? "start" : x > width - 30 ? "end" : "";
        return <span key={tick} class={side} ref={placed({ left: x })}>{integer(tick)}</span>;
      })}
    </div>
  );
}
