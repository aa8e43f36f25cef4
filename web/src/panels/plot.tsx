// SPDX-License-Identifier: Apache-2.0
// One uPlot with what our plots have in common: x are steps, given from outside; a drag asks for a
// span, a click for a step.
import { useLayoutEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import type { Span } from "../source/source";
import type { ThemeColours } from "../theme";
import { integer, number } from "../words";
import { type Extent, type Value, aloneIn, evenTicks, extentOf, logTicks, rangeOf } from "./curve_data";
import { within } from "./layout";

export interface PlotLine {
  values: Value[];
  colour: string;
  width: number;
  dash?: number[];
  points?: "all" | "alone"; // alone: those that no line would show
  bandTo?: { values: Value[]; fill: string }; // shaded between the two
}

export interface PlotData {
  xs: number[];
  lines: PlotLine[];
  logarithmic: boolean;
  within?: Extent; // limits of what is shown, where the numbers have natural ones
  also?: number; // a level to be shown if it is near
}

export interface PlotProps {
  data: PlotData;
  span: Span;
  height: number;
  width: number;
  left: number;
  right: number;
  steps: boolean; // whether steps stand below
  theme: ThemeColours;
  draw: (plot: uPlot) => void; // over the lines; another one when there is something else to draw
  onSpan: (span: Span | null) => void;
  onStep: (step: number) => void;
  onHover: (step: number | null) => void;
}

const DRAGGED = 5; // px: less is a click
const HALF_DIGIT = 4; // px
const PER_TICK = { x: 70, y: 38 }; // px

function yRange({ data, span }: PlotProps): [number, number] {
  const lines = data.lines.flatMap((l) => (l.bandTo ? [l.values, l.bandTo.values] : [l.values]));
  const extent = extentOf(lines, data.xs, span.first, span.last);
  if (extent && data.also !== undefined && isNear(data.also, extent, data.logarithmic)) {
    extent.low = Math.min(extent.low, data.also);
    extent.high = Math.max(extent.high, data.also);
  }
  const [low, high] = rangeOf(extent, data.logarithmic);
  return data.within ? [Math.max(low, data.within.low), Math.min(high, data.within.high)] : [low, high];
}

function isNear(level: number, { low, high }: Extent, logarithmic: boolean): boolean {
  if (logarithmic) return level > low / 10 && level < high * 10;
  return level > low - (high - low) && level < high + (high - low);
}

function pointsOf(line: PlotLine, theme: ThemeColours): uPlot.Series.Points {
  if (!line.points) return { show: false };
  const look = { size: 6, fill: theme.paper, stroke: line.colour };
  if (line.points === "all") return { ...look, show: true };
  return {
    ...look, show: true,
    filter: (plot, series) => aloneIn((plot.data[series] ?? []) as Value[]),
  };
}

function seriesOf(data: PlotData, theme: ThemeColours): { series: uPlot.Series[]; bands: uPlot.Band[] } {
  const series: uPlot.Series[] = [{}];
  const bands: uPlot.Band[] = [];
  for (const line of data.lines) {
    series.push({
      stroke: line.colour, width: line.width, ...(line.dash && { dash: line.dash }),
      points: pointsOf(line, theme),
    });
    if (!line.bandTo) continue;
    series.push({ stroke: "transparent", width: 0, points: { show: false } });
    bands.push({ series: [series.length - 2, series.length - 1], fill: line.bandTo.fill, dir: 0 as -1 });
  }
  return { series, bands };
}

function tableOf(data: PlotData): uPlot.AlignedData {
  const columns: Value[][] = data.lines.flatMap((l) => (l.bandTo ? [l.values, l.bandTo.values] : [l.values]));
  return [data.xs, ...columns] as uPlot.AlignedData;
}

function axesOf(now: () => PlotProps): uPlot.Axis[] {
  const { theme, left, steps } = now();
  const font = `12px ${theme.sans}`;
  const line = { stroke: theme.line, width: 1 };
  return [{
    stroke: theme.muted, font, grid: { show: false }, ticks: { ...line, size: steps ? 4 : 0 },
    size: steps ? 28 : 6, gap: 4,
    splits: (plot, _axis, low, high) => {
      const edge = now().width - now().left;
      return evenTicks(low, high, Math.max(2, now().width / PER_TICK.x)).filter((t) =>
        Number.isInteger(t) && plot.valToPos(t, "x") + HALF_DIGIT * integer(t).length <= edge);
    },
    values: (_plot, ticks) => ticks.map((t) => (now().steps ? integer(t) : "")),
  }, {
    stroke: theme.muted, font, grid: line, ticks: { show: false }, size: left, gap: 8,
    splits: (_plot, _axis, low, high) => {
      const most = Math.max(2, now().height / PER_TICK.y);
      return now().data.logarithmic ? logTicks(low, high, most) : evenTicks(low, high, most);
    },
    values: (_plot, ticks) => ticks.map((t) => number(Number(t.toPrecision(12)), 4)),
  }];
}

function stepAt(plot: uPlot, px: number, span: Span): number {
  return within(span, Math.round(plot.posToVal(px, "x")));
}

function askForSpan(plot: uPlot, { span, onSpan }: PlotProps): void {
  const { left, width } = plot.select;
  if (width < DRAGGED) return;
  plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
  const first = stepAt(plot, left, span), last = stepAt(plot, left + width, span);
  if (last > first) onSpan({ first, last });
}

function optionsOf(now: () => PlotProps): uPlot.Options {
  const { data, width, height, right, theme } = now();
  return {
    width, height, ...seriesOf(data, theme), axes: axesOf(now),
    padding: [8, right, 0, 0], legend: { show: false },
    scales: {
      x: { time: false, range: () => [now().span.first - 0.5, now().span.last + 0.5] },
      y: { distr: data.logarithmic ? 3 : 1, range: () => yRange(now()) },
    },
    cursor: {
      y: false, points: { show: false }, drag: { x: true, y: false, setScale: false, dist: DRAGGED },
      bind: { dblclick: () => () => (now().onSpan(null), null) },
    },
    hooks: {
      draw: [(plot) => now().draw(plot)],
      setSelect: [(plot) => askForSpan(plot, now())],
      setCursor: [(plot) => {
        const left = plot.cursor.left ?? -1;
        now().onHover(left < 0 ? null : stepAt(plot, left, now().span));
      }],
      ready: [(plot) => listenToClicks(plot, now)],
    },
  };
}

/** A drag ends in a click, too. */
function listenToClicks(plot: uPlot, now: () => PlotProps): void {
  let down = 0;
  plot.over.addEventListener("mousedown", (event) => (down = event.clientX));
  plot.over.addEventListener("click", (event) => {
    if (Math.abs(event.clientX - down) >= DRAGGED) return;
    const left = event.clientX - plot.over.getBoundingClientRect().left;
    now().onStep(stepAt(plot, left, now().span));
  });
}

/** What uPlot can only be told at its making. */
function shapeOf({ data, theme, left, right, steps, height }: PlotProps): string {
  const lines = data.lines.map((l) => [l.colour, l.width, l.dash, l.points, l.bandTo?.fill]);
  return JSON.stringify([lines, data.logarithmic, theme, left, right, steps, height]);
}

export function Plot(props: PlotProps) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const latest = useRef(props);
  latest.current = props;
  const shape = shapeOf(props);
  // Before the browser paints: printing does not wait for other effects.
  useLayoutEffect(() => {
    if (!box.current) return;
    plot.current = new uPlot(optionsOf(() => latest.current), tableOf(latest.current.data), box.current);
    return () => {
      plot.current?.destroy();
      plot.current = null;
    };
  }, [shape]);
  useLayoutEffect(() => plot.current?.setData(tableOf(props.data)), [props.data, props.span.first, props.span.last]);
  useLayoutEffect(() => plot.current?.setSize({ width: props.width, height: props.height }), [props.width, props.height]);
  useLayoutEffect(() => plot.current?.redraw(false, false), [props.draw]);
  return <div ref={box} class="plot" />;
}
