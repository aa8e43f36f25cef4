// SPDX-License-Identifier: Apache-2.0
// How large the numbers of a layer are, over the steps: x steps, y powers of two, colour the share.
import { useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Span } from "../source/source";
import type { Tile } from "../source/tile";
import { type ThemeColours, useTheme } from "../theme";
import { integer, percent } from "../words";
import { type Column, FORMATS, type Octaves, columnAt, columnUpTo, columnWords, decadeTicks, filledColumns, octavesOf, placeUpTo, rolePlural } from "./histogram_model";
import { onKeys, useWidth, within } from "./layout";

const HEIGHT = 260;
const MARGIN = { left: 52, top: 10, bottom: 44 };
const ZEROS = 10; // px: the strip below
const NEAR = 14; // px: too near the strip for words between
const SIDE = 0.24; // share of the width that the chosen step's bars take

interface Frame {
  octaves: Octaves;
  width: number; // of the cells
  side: { left: number; width: number };
  foot: number; // y of the lowest octave's lower edge
  x: (step: number) => number;
  y: (octave: number) => number;
}

function frameOf(octaves: Octaves, span: Span, whole: number): Frame {
  const sideWidth = Math.round(SIDE * (whole - MARGIN.left));
  const width = whole - MARGIN.left - sideWidth - 12;
  const foot = HEIGHT - MARGIN.bottom;
  return {
    octaves, width, foot,
    side: { left: MARGIN.left + width + 12, width: sideWidth },
    x: (step) => MARGIN.left + ((step - span.first) * width) / (span.last + 1 - span.first),
    y: (octave) => MARGIN.top + ((octaves.high - octave) * (foot - MARGIN.top)) / (octaves.high - octaves.low),
  };
}

/** Small shares are to be seen, too. */
const strength = (share: number): number => (share > 0 ? Math.min(1, 0.12 + 0.88 * Math.sqrt(share * 2.5)) : 0);

/** A histogram stands for the steps until the next one. */
function paintColumn(context: CanvasRenderingContext2D, tile: Tile, from: number, to: number, frame: Frame, theme: ThemeColours): void {
  const column = columnAt(tile, from);
  if (!column) return;
  const left = Math.max(frame.x(tile.starts[from]!), MARGIN.left);
  const right = Math.min(frame.x(tile.starts[to]!), MARGIN.left + frame.width);
  if (right <= left) return;
  context.fillStyle = theme.accent;
  for (const { octave, share } of column.shares) {
    context.globalAlpha = strength(share);
    const top = frame.y(octave + 1);
    context.fillRect(left, top, right - left + 0.3, frame.y(octave) - top + 0.3);
  }
  context.fillStyle = theme.ink;
  context.globalAlpha = column.rest;
  context.fillRect(left, frame.foot + 3, right - left + 0.3, ZEROS);
  context.globalAlpha = 1;
}

function Cells({ tile, frame, theme, width }: { tile: Tile; frame: Frame; theme: ThemeColours; width: number }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useLayoutEffect(() => {
    const context = canvas.current?.getContext("2d");
    if (!context) return;
    const ratio = devicePixelRatio || 1;
    context.canvas.width = Math.round(width * ratio);
    context.canvas.height = Math.round(HEIGHT * ratio);
    context.scale(ratio, ratio);
    filledColumns(tile).forEach((c, i, filled) => paintColumn(context, tile, c, filled[i + 1] ?? tile.columns, frame, theme));
  }, [tile, theme, width, frame.x(0), frame.x(1)]);
  return <canvas ref={canvas} class="histogram-cells" style={{ width: `${width}px`, height: `${HEIGHT}px` }} />;
}

function Axes({ frame, span }: { frame: Frame; span: Span }) {
  const right = MARGIN.left + frame.width;
  return (
    <g>
      {decadeTicks(frame.octaves, 7).filter(({ octave }) => frame.foot - frame.y(octave) > NEAR).map(({ octave, label }) => (
        <g key={label}>
          <line class="chain-level" x1={MARGIN.left} x2={frame.side.left + frame.side.width} y1={frame.y(octave)} y2={frame.y(octave)} />
          <text class="tick" x={MARGIN.left - 8} y={frame.y(octave)} dy="0.35em" text-anchor="end">{label}</text>
        </g>
      ))}
      <text class="tick" x={MARGIN.left - 8} y={frame.foot + 3 + ZEROS / 2} dy="0.35em" text-anchor="end">0</text>
      <rect class="histogram-zeros" x={MARGIN.left} y={frame.foot + 3} width={frame.width} height={ZEROS} />
      <text class="tick" x={MARGIN.left} y={HEIGHT - 12}>{integer(span.first)}</text>
      <text class="axis-name" x={MARGIN.left + frame.width / 2} y={HEIGHT - 12} text-anchor="middle">step</text>
      <text class="tick" x={right} y={HEIGHT - 12} text-anchor="end">{integer(span.last)}</text>
    </g>
  );
}

function FormatLines({ frame }: { frame: Frame }) {
  return (
    <g class="chain-format">
      {FORMATS.filter((f) => f.exponent > frame.octaves.low && f.exponent < frame.octaves.high).map((format) => (
        <g key={format.label}>
          <line x1={MARGIN.left} x2={frame.side.left + frame.side.width} y1={frame.y(format.exponent)} y2={frame.y(format.exponent)} />
          <text x={MARGIN.left + 6} y={frame.y(format.exponent) + (frame.foot - frame.y(format.exponent) > NEAR ? 13 : -4)}>{format.label}</text>
        </g>
      ))}
    </g>
  );
}

/** The chosen step's histogram, lying. */
function Side({ column, frame }: { column: Column; frame: Frame }) {
  const most = column.shares.reduce((m, s) => Math.max(m, s.share), 0);
  return (
    <g>
      {column.shares.map(({ octave, share }) => (
        <rect key={octave} class="histogram-bar" data-octave={octave} data-value={String(share)} x={frame.side.left}
          y={frame.y(octave + 1) + 0.5} width={Math.max(1, (share / most) * frame.side.width)}
          height={Math.max(1, frame.y(octave) - frame.y(octave + 1) - 1)} />
      ))}
      {column.rest > 0 && (
        <rect class="histogram-bar" x={frame.side.left} y={frame.foot + 3} height={ZEROS}
          width={Math.max(1, Math.min(1, column.rest / Math.max(most, column.rest)) * frame.side.width)} />
      )}
      {most > 0 && <text class="tick" x={frame.side.left} y={HEIGHT - 12}>0</text>}
      {most > 0 && <text class="tick" x={frame.side.left + frame.side.width} y={HEIGHT - 12} text-anchor="end">{percent(most)}</text>}
    </g>
  );
}

function Chosen({ tile, column, frame }: { tile: Tile; column: number; frame: Frame }) {
  const left = Math.max(frame.x(tile.starts[column]!), MARGIN.left);
  const right = Math.min(frame.x(tile.starts[column + 1]!), MARGIN.left + frame.width);
  const x = (left + right) / 2;
  return (
    <g class="chain-chosen">
      <line x1={x} x2={x} y1={MARGIN.top} y2={frame.foot + 3 + ZEROS} />
    </g>
  );
}

export interface HistogramProps {
  tile: Tile | null;
  layer: number;
  name: string; // the layer's
  role: string;
  span: Span;
  step: number | null;
  onStep: (step: number) => void;
}

export function Histogram(props: HistogramProps) {
  const { tile, role } = props;
  const octaves = tile && octavesOf(tile);
  if (!tile || tile.lastStep < 0)
    return <p class="empty">No histograms of {rolePlural(role)} here: the log has none, or this report left them out.</p>;
  if (!octaves) return <p class="empty">No histogram of layer {props.layer} ({props.name}) in these steps.</p>;
  return <Picture {...props} tile={tile} octaves={octaves} />;
}

function Picture({ tile, octaves, layer, name, role, span, step, onStep }: HistogramProps & { tile: Tile; octaves: Octaves }) {
  const theme = useTheme();
  const [box, width] = useWidth(560);
  const [hovered, setHovered] = useState<number | null>(null);
  const frame = frameOf(octaves, span, width);
  const filled = useMemo(() => filledColumns(tile), [tile]);
  const placeOfStep = (s: number): number => placeUpTo(filled, columnUpTo(tile, s));
  const place = hovered ?? placeOfStep(step ?? span.last);
  const shown = filled[place] ?? 0;
  const column = columnAt(tile, shown);
  const words = `step ${integer(tile.starts[shown]!)}: ${column ? columnWords(column) : "nothing"}`;
  const placeAtPointer = (event: MouseEvent): number => {
    const left = (event.currentTarget as Element).getBoundingClientRect().left + MARGIN.left;
    const s = span.first + ((event.clientX - left) / frame.width) * (span.last + 1 - span.first);
    return placeOfStep(Math.min(Math.max(Math.floor(s), span.first), span.last));
  };
  const choose = (to: number): void => onStep(tile.starts[filled[to] ?? 0]!);
  return (
    <div class="histogram">
      <p class="histogram-title">{rolePlural(role)} of layer {layer}, <bdi>{name}</bdi>: powers of ten over the steps</p>
      <div ref={box}>
        <div class="histogram-plot" role="slider" tabIndex={0} aria-label={`Step of the histogram of ${rolePlural(role)}`}
          aria-valuemin={span.first} aria-valuemax={span.last} aria-valuenow={within(span, tile.starts[shown]!)} aria-valuetext={words}
          onKeyDown={onKeys(place, filled.length, choose)} onClick={(e) => choose(placeAtPointer(e))}
          onMouseMove={(e) => setHovered(placeAtPointer(e))} onMouseLeave={() => setHovered(null)}>
          <Cells tile={tile} frame={frame} theme={theme} width={width} />
          <svg width={width} height={HEIGHT} viewBox={`0 0 ${width} ${HEIGHT}`}>
            <Axes frame={frame} span={span} />
            <FormatLines frame={frame} />
            {column && <Side column={column} frame={frame} />}
            <Chosen tile={tile} column={shown} frame={frame} />
          </svg>
        </div>
      </div>
      <p class="read-out" data-step={tile.starts[shown]}>{words}</p>
    </div>
  );
}
