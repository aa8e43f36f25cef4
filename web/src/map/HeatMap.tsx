// SPDX-License-Identifier: Apache-2.0
// The map of a run: layers down, steps to the right, a quantity as colour.
import { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Span } from "../source/source";
import { columnOf, type Tile } from "../source/tile";
import type { Finding, Run } from "../source/types";
import type { ThemeColours } from "../theme";
import { integer } from "../words";
import { codesOf, middleOf, type Show } from "./codes";
import { colourTable, patternsOf, type Scheme } from "./colours";
import { useGestures, type Point } from "./gestures";
import { Gutter } from "./Gutter";
import { Legend } from "./Legend";
import { Marks, Overlay, type Mark } from "./Overlay";
import { picture, toPixels, type Window } from "./paint";
import { placed } from "./place";
import type { Quantity } from "./quantities";
import { readingAt, type Reading } from "./readout";
import { blockKey, lineOfRow, planRows, type Block, type Plan } from "./rows";
import type { Scale } from "./scale";
import { between, panned, showing, stepTicks, zoomed } from "./view";

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

const hasInput = (tile: Tile | null): boolean => {
  if (!tile || tile.rows === 0) return false;
  for (let column = 0; column < tile.columns; column++)
    if (columnIsMeasured(tile, column)) return true;
  return false;
};
const columnIsMeasured = (tile: Tile, column: number): boolean => {
  const value = tile.mean[column]!;
  return tile.codec === "log16" ? value !== 65533 : !Number.isNaN(value) || tile.flags[column] !== 0;
};

export function HeatMap(props: HeatMapProps) {
  const { run, whole, span, wholeTile, detail, quantity, show, gutter, step, layer, theme } = props;
  const layers = run.findings.network.layers;
  const [toggled, setToggled] = useState<ReadonlySet<string>>(new Set());
  const [rows, setRows] = useState<{ top: number; bottom: number } | null>(null);
  const [hover, setHover] = useState<Point | null>(null);
  const [frame, setFrame] = useState<{ from: Point; to: Point } | null>(null);
  const [width, widthRef] = useWidth();
  const holder = useRef<HTMLDivElement>(null);

  const input = useMemo(() => hasInput(wholeTile), [wholeTile]);
  const plan = useMemo(() => planRows(layers, toggled, input), [layers, toggled, input]);
  const height = mapHeight(plan.lines.length);
  const seen = span ?? whole;
  const window: Window = {
    first: seen.first, end: seen.last + 1,
    top: rows?.top ?? 0, bottom: rows ? Math.min(rows.bottom, plan.lines.length) : plan.lines.length,
  };
  const line = layer === null ? -1 : lineOfRow(plan, layer);

  const toggle = (block: Block): void => {
    setRows(null);
    setToggled((old) => {
      const next = new Set(old);
      if (!next.delete(blockKey(block))) next.add(blockKey(block));
      return next;
    });
  };

  const tileAt = (at: number): Tile | null =>
    detail && columnOf(detail, at) >= 0 ? detail : wholeTile;
  const stepAt = (x: number): number => Math.min(Math.floor(window.first + x * (window.end - window.first)), seen.last);
  const lineAt = (y: number): number =>
    Math.min(Math.floor(window.top + y * (window.bottom - window.top)), plan.lines.length - 1);
  const read = (at: number, which: number): Reading | null => {
    const tile = tileAt(at), shown = plan.lines[which];
    return tile && shown ? readingAt(tile, layers, quantity, show, shown, at) : null;
  };

  useGestures(holder, {
    hover: setHover,
    select: (point) => {
      const reading = read(stepAt(point.x), lineAt(point.y));
      if (reading) props.onCell(stepAt(point.x), reading.row);
    },
    frame: (from, to, done) => {
      setFrame(done ? null : { from, to });
      if (!done) return;
      props.onSpan(between(whole, stepAt(from.x), stepAt(to.x)));
      const top = lineAt(Math.min(from.y, to.y)), bottom = lineAt(Math.max(from.y, to.y)) + 1;
      if (height / (window.bottom - window.top) < 12 && bottom - top < (window.bottom - window.top) * 0.8) setRows({ top, bottom });
    },
    pan: (share) => props.onSpan(panned(whole, span, share)),
    zoom: (factor, place) => props.onSpan(zoomed(whole, span, factor, place)),
  });

  const cursorStep = step ?? seen.last;
  const onKey = (event: KeyboardEvent): void => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const zoom = (factor: number): void => {
      const place = (cursorStep + 0.5 - window.first) / (window.end - window.first);
      props.onSpan(zoomed(whole, span, factor, place >= 0 && place <= 1 ? place : 0.5));
    };
    const go = (at: number, to: number): void => {
      const wanted = Math.min(Math.max(at, whole.first), whole.last);
      const shownLine = Math.min(Math.max(to, 0), plan.lines.length - 1);
      props.onSpan(showing(whole, span, wanted));
      if (rows && (shownLine < rows.top || shownLine >= rows.bottom)) {
        const size = rows.bottom - rows.top, top = shownLine < rows.top ? shownLine : shownLine - size + 1;
        setRows({ top, bottom: top + size });
      }
      props.onCell(wanted, to < 0 ? null : read(wanted, shownLine)?.row ?? plan.lines[shownLine]!.from);
    };
    const zoomRows = (factor: number): void => {
      const size = Math.max(4, Math.round((window.bottom - window.top) * factor));
      const top = Math.min(Math.max(Math.round((line < 0 ? 0 : line + 0.5) - size / 2), 0), Math.max(plan.lines.length - size, 0));
      setRows(size >= plan.lines.length ? null : { top, bottom: top + size });
    };
    const far = event.shiftKey ? 10 : 1;
    const commands: Record<string, () => void> = {
      ArrowLeft: () => go(neighbour(tileAt(cursorStep), cursorStep, -far), line),
      ArrowRight: () => go(neighbour(tileAt(cursorStep), cursorStep, far), line),
      ArrowUp: () => go(cursorStep, line < 0 ? plan.lines.length - 1 : Math.max(line - far, 0)),
      ArrowDown: () => go(cursorStep, line < 0 ? 0 : line + far),
      PageUp: () => props.onSpan(panned(whole, span, -0.5)),
      PageDown: () => props.onSpan(panned(whole, span, 0.5)),
      Home: () => go(whole.first, line),
      End: () => go(whole.last, line),
      "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2),
      "]": () => zoomRows(0.5), "[": () => zoomRows(2),
      "0": () => { props.onSpan(null); setRows(null); },
      Enter: () => { const block = plan.lines[line]?.block; if (block) toggle(block); },
    };
    const command = Object.hasOwn(commands, event.key) ? commands[event.key] : undefined;
    if (!command) return;
    event.preventDefault();
    command();
  };

  const at = hover && !frame ? { step: stepAt(hover.x), line: lineAt(hover.y) } : null;
  const reading = at ? read(at.step, at.line) : step !== null && line >= 0 ? read(step, line) : null;
  const hoverTile = at && tileAt(at.step), hoverColumn = hoverTile ? columnOf(hoverTile, at.step) : -1;
  const table = useMemo(() => colourTable(quantity, props.scale, props.scheme, theme.dark), [quantity, props.scale, props.scheme, theme.dark]);
  const ratio = globalThis.devicePixelRatio || 1;
  const patterns = useMemo(() => patternsOf(quantity, theme, ratio), [quantity, theme, ratio]);
  const shown = detail ?? wholeTile;
  return (
    <div class="map">
      <div class="map-grid" ref={(element) => element?.style.setProperty("--gutter", `${gutter}px`)}>
        <Gutter plan={plan} top={window.top} bottom={window.bottom} height={height} current={line} onToggle={toggle} />
        <div class="map-plot" ref={widthRef}>
          <Marks marks={props.marks} window={window} width={width} brushed={props.brushed} onFinding={props.onFinding} />
          <div ref={holder} class="map-holder" role="application" tabIndex={0} aria-label={props.label} aria-busy={props.busy}
            aria-describedby="map-keys" data-first={seen.first} data-last={seen.last} data-columns={shown?.columns ?? 0} onKeyDown={onKey}>
            <Raster layers={[detail, wholeTile]} plan={plan} window={window} width={width} height={height} ratio={ratio}
              quantity={quantity} show={show} signedSize={props.signedSize} table={table} patterns={patterns} />
            <Overlay plan={plan} window={window} width={width} height={height} marks={props.marks} brushed={props.brushed}
              step={step} line={line}
              hover={hoverTile && hoverColumn >= 0 ? { line: at.line, column: { first: hoverTile.starts[hoverColumn]!, last: hoverTile.starts[hoverColumn + 1]! - 1 } } : null}
              frame={frame && { x0: frame.from.x * width, x1: frame.to.x * width, ...frameRows(frame, height, plan, window) }} />
          </div>
          <StepAxis span={seen} width={width} />
        </div>
      </div>
      <div class="map-foot">
        <Readout reading={reading} quantity={quantity} />
        <Legend quantity={quantity} scale={props.scale} table={table} patterns={patterns} />
      </div>
    </div>
  );
}

// Rows are framed only where they are too thin to be read.
function frameRows(frame: { from: Point; to: Point }, height: number, plan: Plan, window: Window): { y0: number; y1: number } {
  const thin = height / (window.bottom - window.top) < 12 && plan.lines.length > 1;
  return thin ? { y0: frame.from.y * height, y1: frame.to.y * height } : { y0: 0, y1: height };
}

/** The step so many columns away. */
function neighbour(tile: Tile | null, step: number, columns: number): number {
  const column = tile ? columnOf(tile, step) : -1;
  if (!tile || column < 0) return step + columns;
  const to = Math.min(Math.max(column + columns, 0), tile.columns - 1);
  return to === column ? step + Math.sign(columns) : tile.starts[to]!;
}

function Readout({ reading, quantity }: { reading: Reading | null; quantity: Quantity }) {
  if (!reading) return <p class="readout" role="status" data-value=""><span class="hint-text">Point at the map, or move over it with the arrow keys.</span></p>;
  return (
    <p class="readout" role="status" data-layer={reading.row} data-step={reading.step} data-value={reading.value} data-plane={reading.plane}>
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

interface RasterProps {
  layers: (Tile | null)[];
  plan: Plan;
  window: Window;
  width: number;
  height: number;
  ratio: number;
  quantity: Quantity;
  show: Show;
  signedSize: number;
  table: Uint32Array;
  patterns: ReturnType<typeof patternsOf>;
}

function Raster(props: RasterProps) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const image = useRef<ImageData | null>(null);
  const { plan, window, width, height, ratio, quantity, show, signedSize, table, patterns } = props;
  const [detail, wholeTile] = props.layers;
  useEffect(() => () => { image.current = null; }, []);
  useLayoutEffect(() => {
    const element = canvas.current, context = element?.getContext("2d", { alpha: false });
    if (!element || !context || width === 0) return;
    const w = Math.round(width * ratio), h = Math.round(height * ratio);
    if (element.width !== w || element.height !== h) {
      element.width = w;
      element.height = h;
    }
    element.style.height = `${height}px`;
    if (image.current?.width !== w || image.current.height !== h) image.current = context.createImageData(w, h);
    const layers = [detail, wholeTile].filter((tile) => tile !== null && tile !== undefined)
      .map((tile) => ({ tile, codes: codesOf(tile, quantity, show, signedSize) }));
    const drawn = picture(layers, plan.lines, window, w, h, middleOf(quantity));
    toPixels(drawn, table, patterns, new Uint32Array(image.current.data.buffer));
    context.putImageData(image.current, 0, 0);
  }, [detail, wholeTile, plan, window.first, window.end, window.top, window.bottom, width, height, ratio, quantity, show, signedSize, table, patterns]);
  return <canvas ref={canvas} class="raster" aria-hidden="true" />;
}
