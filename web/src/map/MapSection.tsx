// SPDX-License-Identifier: Apache-2.0
// The heat map with its tools: of one run, or of one of two beside each other.
import { useMemo, useState } from "preact/hooks";
import { screenColumns, useDetail, type Shown } from "../data";
import { MapTable, findingKey, toCsv } from "../panels";
import type { Resource } from "../resource";
import type { Source, Span } from "../source/source";
import { cropTile, type Tile } from "../source/tile";
import type { Finding } from "../source/types";
import type { Change, View } from "../state";
import { useTheme } from "../theme";
import { HeatMap } from "./HeatMap";
import type { Mark } from "./Overlay";
import { quantitiesOf, type Quantity } from "./quantities";
import { scaleOf, signedSizeOf, type Scale } from "./scale";
import { zoomed } from "./view";

const CSV_CELLS = 200_000;

/** What two maps beside each other share, so that a colour means the same in both. */
export interface Shades {
  scale: Scale;
  signedSize: number;
}

export function shadesOf(tiles: (Tile | null)[], quantity: Quantity, show: View["show"]): Shades {
  const there = tiles.filter((tile) => tile !== null);
  const signedSize = signedSizeOf(there, quantity);
  return { signedSize, scale: scaleOf(there, quantity, show, signedSize) };
}

interface ToolsProps {
  shown: Shown; // whose quantities can be chosen
  view: View;
  whole: Span;
  quantity: Quantity;
  fitted: boolean;
  onFit(): void;
  onCsv(): void;
  change: Change;
}

export function Tools({ shown, view, whole, quantity, fitted, onFit, onCsv, change }: ToolsProps) {
  const { usual, more } = useMemo(() => quantitiesOf(shown.run), [shown.run]);
  const option = ({ name, label }: Quantity) => <option key={name} value={name} selected={name === quantity.name}>{label}</option>;
  const zoom = (factor: number): void => change({ span: zoomed(whole, view.span, factor, 0.5) });
  return (
    <div class="tools" role="group" aria-label="Heat map tools">
      <label class="field"><span>Quantity</span>
        <select aria-label="Quantity" value={quantity.name} onChange={(event) => change({ series: event.currentTarget.value })}>
          {usual.map(option)}
          {more.length > 0 && <optgroup label="More">{more.map(option)}</optgroup>}
        </select>
      </label>
      <div class="segments" role="group" aria-label="What a cell shows">
        <button type="button" aria-pressed={view.show === "worst"} onClick={() => change({ show: "worst" })}>Worst</button>
        <button type="button" aria-pressed={view.show === "mean"} onClick={() => change({ show: "mean" })}>Mean</button>
      </div>
      <label class="field"><span>Colours</span>
        <select aria-label="Colours" value={view.scheme} disabled={quantity.kind !== "log"}
          onChange={(event) => change({ scheme: event.currentTarget.value === "cividis" ? "cividis" : "viridis" })}>
          <option value="viridis" selected={view.scheme === "viridis"}>Viridis</option>
          <option value="cividis" selected={view.scheme === "cividis"}>Cividis</option>
        </select>
      </label>
      <button type="button" class="tool" aria-pressed={fitted} title="Spread the colours over what is seen now" onClick={onFit}>Fit colours</button>
      <div class="tools-end"><div class="segments">
        <button type="button" aria-label="Zoom out" title="Zoom out (−)" disabled={!view.span} onClick={() => zoom(2)}>−</button>
        <button type="button" aria-label="Zoom in" title="Zoom in (+)" onClick={() => zoom(0.5)}>+</button>
        <button type="button" title="Show the whole run (0)" aria-disabled={!view.span} onClick={() => change({ span: null })}>Whole run</button>
      </div>
      <div class="segments">
        <button type="button" aria-pressed={view.table} onClick={() => change({ table: !view.table })}>Table</button>
        <button type="button" title="Download what is seen as comma-separated values" onClick={onCsv}>CSV</button>
      </div></div>
    </div>
  );
}

/** Hands a file to who looks; nothing leaves the machine. */
function download(name: string, text: string): void {
  const address = URL.createObjectURL(new Blob([text], { type: "text/csv;charset=utf-8" }));
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

export async function downloadCsv(source: Source, shown: Shown, series: string, span: Span): Promise<void> {
  const { run } = shown;
  const rows = run.findings.network.layers.length + 1;
  const columns = Math.min(screenColumns(), Math.max(20, Math.floor(CSV_CELLS / rows)));
  const tile = await source.tile(run.id, series, span, columns);
  const described = run.series.find(({ name }) => name === series);
  if (!described) return;
  const name = `${run.name}-${series}`.replace(/[^A-Za-z0-9_.-]+/g, "_").replace(/^[_.-]+/, "") || "map";
  download(`${name}.csv`, toCsv(tile, run.findings.network.layers, described));
}

interface MapSectionProps {
  source: Source;
  shown: Shown;
  whole: Span; // also where another run is longer
  wholeTile: Resource<Tile>;
  view: View;
  quantity: Quantity;
  shades: Shades;
  gutter: number;
  brushed: Finding | null;
  onFinding(finding: Finding | null): void;
  change: Change;
}

export function MapSection(props: MapSectionProps) {
  const { source, shown, whole, wholeTile, view, quantity, shades, change } = props;
  const { run } = shown, { findings } = run.findings;
  const theme = useTheme();
  const detail = useDetail(source, shown, quantity.name, view.span);
  const marks = useMemo((): Mark[] => findings.map((finding, index) =>
    ({ number: index + 1, key: findingKey(findings, finding), finding })), [findings]);
  const series = run.series.find(({ name }) => name === quantity.name);
  const tile = view.span ? detail.value ?? wholeTile.value : wholeTile.value;
  const error = detail.error ?? wholeTile.error;
  const inTable = useMemo(() => view.table && tile ? cropTile(tile, (view.span ?? whole).first, (view.span ?? whole).last) : null,
    [view.table, tile, view.span, whole]);
  if (!series) return <p class="empty">This run did not record {quantity.label.toLowerCase()}.</p>;
  return (
    <>
      {error && <p class="problem" role="alert">{error.message}</p>}
      <HeatMap run={run} whole={whole} span={view.span} wholeTile={wholeTile.value} detail={detail.value}
        label={`Heat map of ${run.name}: ${quantity.label.toLowerCase()} of ${run.findings.network.layers.length} layers over the steps`}
        busy={wholeTile.busy || detail.busy} quantity={quantity} show={view.show} scheme={view.scheme} scale={shades.scale}
        signedSize={shades.signedSize} theme={theme} gutter={props.gutter} step={view.step} layer={view.layer} marks={marks}
        brushed={props.brushed}
        onSpan={(span) => change({ span })}
        onCell={(step, layer) => change({ step, layer })}
        onFinding={(mark) => props.onFinding(props.brushed === mark.finding ? null : mark.finding)} />
      {inTable && (
        <section aria-label="Table"><MapTable tile={inTable} layers={run.findings.network.layers} series={series} /></section>
      )}
    </>
  );
}

/** Colours over what is seen now, kept until they are given back to the whole run. */
export function useFittedShades(usual: Shades, key: string): { shades: Shades; fitted: boolean; fit(shades: Shades | null): void } {
  const [kept, setKept] = useState<{ key: string; shades: Shades } | null>(null);
  const fitted = kept?.key === key;
  return {
    shades: fitted ? kept.shades : usual, fitted,
    fit: (shades) => setKept(shades && { key, shades }),
  };
}
