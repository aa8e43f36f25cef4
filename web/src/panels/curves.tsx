// SPDX-License-Identifier: Apache-2.0
// Loss and accuracy over the steps of the heat map above, of one run or of two.
import { useCallback, useMemo, useState } from "preact/hooks";
import type uPlot from "uplot";
import type { Span } from "../source/source";
import { type Tile, columnOf, flagsAt, valueAt, HAS_INF, HAS_NAN } from "../source/tile";
import { type ThemeColours, useTheme } from "../theme";
import { integer, number } from "../words";
import { type Bad, type Line, badOf, lineOf, middleOf, smoothed, xsOf } from "./curve_data";
import { type CurveMark, drawBad, drawLevel, drawMarks, drawStep } from "./curve_marks";
import { chosenColumns } from "./table";
import { onKeys, useWidth, within } from "./layout";
import { Plot, type PlotData, type PlotLine } from "./plot";

export interface CurveRun {
  id: string;
  name: string;
  tiles: Record<string, Tile>; // by series, those that there are
  trivial?: number | null; // the loss of guessing
}

const ACCURACY = ["train_accuracy", "validation_accuracy"];
const OTHERS = ["learning_rate", "gradient_norm"];
/** The series that are drawn where a run has them. */
export const CURVE_SERIES = ["loss", "validation_loss", ...ACCURACY, ...OTHERS];

const NAMES: Record<string, string> = {
  loss: "loss", validation_loss: "validation loss",
  train_accuracy: "accuracy", validation_accuracy: "validation accuracy",
  learning_rate: "learning rate", gradient_norm: "gradient norm",
};
const SELDOM = 0.3; // share of columns with a value, below which each is drawn as a point
const WIDE = 50; // highest / lowest loss, from which on a logarithmic scale tells more
const TABLE_ROWS = 12;
const NOISY = ["loss", "train_accuracy"];
const SMOOTHED = 80; // part of the columns to each side over which a noisy line is evened out

type Scale = "auto" | "log" | "linear";

interface Drawn {
  run: number;
  series: string;
  tile: Tile;
  line: Line;
}

function drawnOf(runs: CurveRun[], series: string[], xs: number[], positive: boolean): Drawn[] {
  return runs.flatMap((run, i) => series.flatMap((name) => {
    const tile = run.tiles[name];
    return tile && tile.columns > 0 ? [{ run: i, series: name, tile, line: lineOf(tile, xs, positive) }] : [];
  }));
}

function colourOf(run: number, validation: boolean, theme: ThemeColours, n: number): string {
  if (run === 1) return theme.warning;
  return validation && n === 1 ? theme.ink : theme.accent;
}

const isValidation = (series: string): boolean => series.startsWith("validation");

function styleOf({ run, series, line }: Drawn, theme: ThemeColours, n: number): PlotLine {
  const values = line.mean.reduce<number>((k, v) => k + (typeof v === "number" ? 1 : 0), 0);
  return {
    values: line.mean, colour: colourOf(run, isValidation(series), theme, n), width: isValidation(series) ? 2 : 1.5,
    points: isValidation(series) && values < SELDOM * line.mean.length + 2 ? "all" : "alone",
    ...(run === 1 && { dash: [6, 3] }),
  };
}

/** Of a noisy line what it does on the whole, and behind it, pale, what it does from step to step. */
function linesOf(drawn: Drawn, theme: ThemeColours, n: number): PlotLine[] {
  const style = styleOf(drawn, theme, n);
  const reach = Math.round(drawn.tile.columns / SMOOTHED);
  if (isValidation(drawn.series) || !NOISY.includes(drawn.series) || reach < 2) return [style];
  const { dash: _, ...whole } = style;
  return [
    { ...whole, width: 1, colour: `${style.colour}${theme.dark ? "70" : "60"}` },
    { ...style, width: 2, values: smoothed(drawn.line.mean, reach), points: "alone" },
  ];
}

function bandOf({ run, line }: Drawn, theme: ThemeColours): PlotLine {
  const colour = colourOf(run, false, theme, 1);
  return {
    values: line.max, colour: "transparent", width: 0,
    bandTo: { values: line.min, fill: `${colour}${theme.dark ? "40" : "30"}` },
  };
}

function isWide(runs: CurveRun[]): boolean {
  let low = Infinity, high = 0;
  for (const run of runs) {
    const tile = run.tiles["loss"];
    for (let c = 0; tile && c < tile.columns; c++) {
      const value = valueAt(tile, "mean", 0, c) ?? NaN;
      if (value <= 0) return false;
      if (Number.isFinite(value)) low = Math.min(low, value), high = Math.max(high, value);
    }
  }
  return high > WIDE * low;
}

function plotData(runs: CurveRun[], series: string[], logarithmic: boolean, theme: ThemeColours): PlotData {
  const tiles = runs.flatMap((run) => series.flatMap((name) => run.tiles[name] ?? []));
  const xs = xsOf(tiles);
  const drawn = drawnOf(runs, series, xs, logarithmic);
  const bands = drawn.filter((d) => !isValidation(d.series)).map((d) => bandOf(d, theme));
  return { xs, logarithmic, lines: [...bands, ...drawn.flatMap((d) => linesOf(d, theme, runs.length))] };
}

function badIn(runs: CurveRun[], series: string[]): Bad[] {
  return runs.flatMap((run) => series.flatMap((name) => {
    const tile = run.tiles[name];
    return tile ? badOf(tile) : [];
  }));
}

function valueWords(tile: Tile, column: number): string {
  const mean = valueAt(tile, "mean", 0, column);
  if (mean === null) return "–";
  const flags = flagsAt(tile, 0, column);
  if (Number.isNaN(mean)) return flags & HAS_INF && !(flags & HAS_NAN) ? "Inf" : "NaN";
  const min = valueAt(tile, "min", 0, column) ?? mean, max = valueAt(tile, "max", 0, column) ?? mean;
  const range = min < max ? ` (${number(min)}–${number(max)})` : "";
  return `${number(mean)}${range}${flags ? " and not finite" : ""}`;
}

/** The last value at the step or before it: validation is seldom. */
function valueUpTo(tile: Tile, step: number): string {
  let column = step >= tile.starts[tile.columns]! ? tile.columns - 1 : columnOf(tile, step);
  while (column > 0 && valueAt(tile, "mean", 0, column) === null) column--;
  return column < 0 ? "–" : valueWords(tile, column);
}

function Sample({ line }: { line: PlotLine }) {
  return (
    <svg class="sample" viewBox="0 0 24 10" aria-hidden="true" focusable="false">
      <line x1="0" y1="5" x2="24" y2="5" stroke={line.colour} stroke-width={line.width}
        stroke-dasharray={line.dash?.join(" ")} />
      {line.points === "all" && <circle cx="12" cy="5" r="3" stroke={line.colour} class="sample-point" />}
    </svg>
  );
}

/** A line for each run. */
function Legend({ runs, series, step, theme }: { runs: CurveRun[]; series: string[]; step: number; theme: ThemeColours }) {
  const drawn = drawnOf(runs, series, [], false);
  return (
    <div class="legend">
      {runs.map((run, i) => (
        <ul key={run.id} aria-label={runs.length > 1 ? run.name : "Lines"}>
          {runs.length > 1 && <li class="legend-run"><bdi>{run.name}</bdi></li>}
          {drawn.filter((d) => d.run === i).map((d) => (
            <li key={d.series}>
              <Sample line={{ ...styleOf(d, theme, runs.length), points: isValidation(d.series) ? "all" : "alone" }} />
              {NAMES[d.series]} <b>{valueUpTo(d.tile, step)}</b>
            </li>
          ))}
        </ul>
      ))}
    </div>
  );
}

function ScaleChoice({ logarithmic, onChoose }: { logarithmic: boolean; onChoose: (scale: Scale) => void }) {
  return (
    <span class="choice" role="group" aria-label="Scale of the loss">
      {(["linear", "log"] as const).map((scale) => (
        <button key={scale} type="button" class="quiet" aria-pressed={(scale === "log") === logarithmic}
          onClick={() => onChoose(scale)}>{scale}</button>
      ))}
    </span>
  );
}

function Also({ options, value, onChoose }: { options: string[]; value: string; onChoose: (series: string) => void }) {
  return (
    <label class="curve-also">
      also
      <select value={value} onChange={(event) => onChoose(event.currentTarget.value)}>
        <option value="">nothing</option>
        {options.map((name) => <option key={name} value={name}>{NAMES[name]}</option>)}
      </select>
    </label>
  );
}

/** For who does not see lines. */
function Values({ runs, series }: { runs: CurveRun[]; series: string[] }) {
  const first = runs[0]?.tiles["loss"] ?? Object.values(runs[0]?.tiles ?? {})[0];
  if (!first) return null;
  const shown = drawnOf(runs, series, [], false);
  return (
    <details class="curve-values">
      <summary>Values as a table</summary>
      <table>
        <thead>
          <tr>
            <th scope="col">step</th>
            {shown.map((d) => <th scope="col" key={`${d.run} ${d.series}`}>
              {runs.length > 1 && <><bdi>{runs[d.run]!.name}</bdi>, </>}{NAMES[d.series]}</th>)}
          </tr>
        </thead>
        <tbody>
          {chosenColumns(first.columns, TABLE_ROWS).map((c) => {
            const step = Math.floor(middleOf(first, c));
            return (
              <tr key={c}>
                <th scope="row">{integer(step)}</th>
                {shown.map((d) => <td key={`${d.run} ${d.series}`}>{valueUpTo(d.tile, step)}</td>)}
              </tr>
            );
          })}
        </tbody>
      </table>
    </details>
  );
}

export interface CurvesProps {
  runs: CurveRun[];
  span: Span;
  step: number | null;
  marks: CurveMark[];
  onSpan: (span: Span | null) => void; // null: the whole run
  onStep: (step: number) => void;
  left?: number; // px beside the plot, so that steps lie below those of the heat map
  right?: number;
}

interface PanelProps extends CurvesProps {
  series: string[];
  logarithmic: boolean;
  height: number;
  width: number;
  steps: boolean;
  theme: ThemeColours;
  within?: { low: number; high: number };
  level?: number | null | undefined;
  onHover: (step: number | null) => void;
}

function Panel(props: PanelProps) {
  const { runs, series, logarithmic, theme, level, within } = props;
  const data = useMemo(() => ({
    ...plotData(runs, series, logarithmic, theme),
    ...(within && { within }), ...(typeof level === "number" && { also: level }),
  }), [runs, series, logarithmic, theme, level, within]);
  const bad = useMemo(() => badIn(runs, series), [runs, series]);
  const { marks, step } = props;
  const draw = useCallback((plot: uPlot) => {
    if (typeof level === "number") drawLevel(plot, { value: level, label: `guessing ${number(level, 4)}` }, theme);
    drawBad(plot, bad, theme);
    drawMarks(plot, marks, theme);
    if (step !== null) drawStep(plot, step, theme);
  }, [level, bad, marks, step, theme]);
  return (
    <Plot data={data} span={props.span} height={props.height} width={props.width} theme={theme}
      left={props.left ?? 56} right={props.right ?? 12} steps={props.steps}
      onSpan={props.onSpan} onStep={props.onStep} onHover={props.onHover} draw={draw} />
  );
}

const LOSS = ["loss", "validation_loss"];
const NO_MARKS: CurveMark[] = [];
const SHARE = { low: 0, high: 1.02 };

export function Curves(props: CurvesProps) {
  const { runs, span, step } = props;
  const theme = useTheme();
  const [box, width] = useWidth(640);
  const [scale, setScale] = useState<Scale>("auto");
  const [more, setMore] = useState("");
  const [hovered, setHovered] = useState<number | null>(null);
  const has = (name: string): boolean => runs.some((run) => (run.tiles[name]?.columns ?? 0) > 0);
  const logarithmic = scale === "log" || (scale === "auto" && isWide(runs));
  const accuracy = ACCURACY.some(has);
  const others = OTHERS.filter(has);
  const extra = useMemo(() => (others.includes(more) ? [more] : []), [more, others.includes(more)]);
  const told = hovered ?? step ?? span.last;
  const shown = [...LOSS, ...(accuracy ? ACCURACY : []), ...extra];
  const tile = runs[0]?.tiles["loss"];
  const at = tile ? Math.max(columnOf(tile, step ?? span.last), 0) : 0;
  const shared = { ...props, theme, width, onHover: setHovered };
  if (!CURVE_SERIES.some(has)) return <p class="empty">No losses in these steps.</p>;
  return (
    <div class="curves">
      <div class="curve-bar">
        <p class="curve-step">step {integer(told)}</p>
        <Legend runs={runs} series={shown} step={told} theme={theme} />
        <ScaleChoice logarithmic={logarithmic} onChoose={setScale} />
        {others.length > 0 && <Also options={others} value={extra[0] ?? ""} onChoose={setMore} />}
      </div>
      <div ref={box} class="curve-plots" role="slider" tabIndex={0} aria-label="Step of the curves"
        aria-valuemin={span.first} aria-valuemax={span.last} aria-valuenow={within(span, step ?? span.last)}
        aria-valuetext={`step ${integer(step ?? span.last)}${tile ? `, loss ${valueWords(tile, at)}` : ""}`}
        onKeyDown={onKeys(at, tile?.columns ?? 0, (c) => tile && props.onStep(tile.starts[c]!))}>
        <Panel {...shared} series={LOSS} logarithmic={logarithmic} height={240}
          steps={!accuracy && extra.length === 0} level={runs[0]?.trivial} />
        {accuracy && <Panel {...shared} series={ACCURACY} logarithmic={false} height={110} within={SHARE}
          marks={NO_MARKS} steps={extra.length === 0} />}
        {extra.length > 0 && <Panel {...shared} series={extra} logarithmic={extra[0] === "gradient_norm"}
          height={120} marks={NO_MARKS} steps />}
      </div>
      <Values runs={runs} series={shown} />
    </div>
  );
}
