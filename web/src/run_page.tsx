// SPDX-License-Identifier: Apache-2.0
// One run, or two beside each other.
import { useEffect, useMemo, useState } from "preact/hooks";
import { useCurves, useHistogram, useNorms, useRun, useWholeTile, type Shown } from "./data";
import type { News } from "./live";
import { MapSection, Tools, downloadCsv, shadesOf, useFittedShades } from "./map/MapSection";
import { quantitiesOf, quantityOf, type Quantity } from "./map/quantities";
import { clamped } from "./map/view";
import { Chain, Curves, FindingsList, Histogram, Verdict, findingKey, layerName, openRoots, type CurveMark } from "./panels";
import type { Source, Span } from "./source/source";
import { cropTile } from "./source/tile";
import type { Finding } from "./source/types";
import type { Change, View } from "./state";
import { useMedia } from "./media";

interface RunPageProps {
  source: Source;
  view: View;
  news: News;
  change: Change;
}

function findByKey(findings: Finding[], key: string, siblings = findings): Finding | null {
  for (const finding of siblings) {
    if (findingKey(findings, finding) === key) return finding;
    const below = findByKey(findings, key, finding.consequences);
    if (below) return below;
  }
  return null;
}

const union = (spans: Span[]): Span => ({
  first: Math.min(...spans.map(({ first }) => first)), last: Math.max(...spans.map(({ last }) => last)),
});

function chosenQuantity(shown: Shown, series: string): Quantity | null {
  const asked = shown.run.series.find(({ name, of }) => name === series && of === "layers");
  const { usual, more } = quantitiesOf(shown.run);
  return asked ? quantityOf(asked) : usual[0] ?? more[0] ?? null;
}

// The layer that the second row of panels is about, while nobody chose one.
function firstLayer(shown: Shown): number | null {
  const worst = openRoots(shown.run.findings)[0];
  return worst?.layers[0]?.id ?? (shown.run.findings.network.layers.length > 0 ? 1 : null);
}

export function RunPage({ source, view, news, change }: RunPageProps) {
  const one = useRun(source, view.run, news.runs.get(view.run ?? ""), news.epoch);
  const two = useRun(source, view.other, news.runs.get(view.other ?? ""), news.epoch);
  useEffect(() => {
    const names = [one.shown?.run.name, two.shown?.run.name].filter(Boolean).join(" and ")
      .replace(/\p{C}/gu, ""); // a title is drawn by the browser: nothing that turns it around
    document.title = names ? `${names} · Backprobe` : "Backprobe";
  }, [one.shown?.run.name, two.shown?.run.name]);
  const error = (!one.shown && one.error) || (!two.shown && two.error);
  if (error) return <p class="problem" role="alert">This run cannot be shown: {error.message}</p>;
  if (!one.shown || (view.other && !two.shown)) return <p class="waiting" aria-busy="true">Reading the run…</p>;
  return <Runs source={source} view={view} one={one.shown} two={two.shown} change={change} />;
}

interface RunsProps {
  source: Source;
  view: View;
  one: Shown;
  two: Shown | null;
  change: Change;
}

function Runs({ source, view: told, one, two, change }: RunsProps) {
  const quantity = useMemo(() => chosenQuantity(one, told.series), [one.run, told.series]);
  const series = quantity?.name ?? "";
  const firstTile = useWholeTile(source, one, series), secondTile = useWholeTile(source, two, series);
  const tiles = [firstTile.value, secondTile.value];
  const known = Math.max(...tiles.map((tile) => tile?.lastStep ?? 0)); // a document may be older than the map
  const whole = useMemo(() => {
    const { first, last } = union(two ? [one.whole, two.whole] : [one.whole]);
    return { first, last: Math.max(last, known) };
  }, [one.whole, two?.whole, known]);
  const view = useMemo(() => ({ ...told, span: clamped(whole, told.span) }), [told, whole]);
  const usual = useMemo(() => quantity && shadesOf(tiles, quantity, view.show), [...tiles, quantity, view.show]);
  const { shades, fitted, fit } = useFittedShades(usual ?? NO_SHADES, `${series} ${view.show}`);
  const narrow = useMedia("(max-width: 699px)");
  const span = view.span ?? whole;
  const gutter = narrow ? 88 : two ? 132 : 172;

  const fitSeen = (): void => {
    const seen = tiles.flatMap((tile) => (tile ? [cropTile(tile, span.first, span.last)] : []));
    if (quantity) fit(fitted ? null : shadesOf(seen, quantity, view.show));
  };
  const tools = quantity && (
    <Tools shown={one} view={view} whole={whole} quantity={quantity} fitted={fitted} change={change} onFit={fitSeen}
      onCsv={() => void downloadCsv(source, one, series, span)} />
  );
  const note = source.note && <p class="note">In this report {source.note}.</p>;
  const mapOf = (shown: Shown, wholeTile: typeof firstTile) => {
    const { findings } = shown.run.findings;
    return quantity && (shown.run.findings.steps.records > 0 || (wholeTile.value?.lastStep ?? -1) >= 0)
      ? <MapSection source={source} shown={shown} whole={whole} wholeTile={wholeTile} view={view} quantity={quantity} shades={shades}
        gutter={gutter} brushed={findByKey(findings, view.finding)} change={change}
        onFinding={(finding) => change({ finding: finding ? findingKey(findings, finding) : "" })} />
      : <p class="empty">Nothing has been recorded of this run’s layers yet.</p>;
  };
  const findingsOf = (shown: Shown) => <FoundIn shown={shown} finding={view.finding} change={change} />;
  const curves = <CurvesSection source={source} one={one} two={two} span={span} view={view} gutter={two ? 56 : gutter} change={change} />;
  if (two) {
    const both: [Shown, typeof firstTile][] = [[one, firstTile], [two, secondTile]];
    return (
      <>
        <div class="pair">
          {both.map(([shown]) => (
            <section key={shown.run.id} aria-label={`Verdict on ${shown.run.name}`}>
              <h2 class="run-name">{shown.run.name}</h2>
              <VerdictOn shown={shown} />
            </section>
          ))}
        </div>
        <section aria-label="Heat map" class="panel">
          <h2>Layers over time</h2>
          {note}
          {tools}
          <div class="pair">
            {both.map(([shown, tile]) => (
              <section key={shown.run.id} aria-label={`Heat map of ${shown.run.name}`}><h3>{shown.run.name}</h3>{mapOf(shown, tile)}</section>
            ))}
          </div>
        </section>
        {curves}
        <div class="pair">
          {both.map(([shown]) => (
            <section key={shown.run.id} aria-label={`Findings in ${shown.run.name}`} class="panel"><h2>Findings in {shown.run.name}</h2>{findingsOf(shown)}</section>
          ))}
        </div>
        <div class="pair">{both.map(([shown]) => <ChainSection key={shown.run.id} source={source} shown={shown} view={view} change={change} named />)}</div>
        <div class="pair">{both.map(([shown]) => <HistogramSection key={shown.run.id} source={source} shown={shown} view={view} span={span} change={change} named />)}</div>
      </>
    );
  }
  return (
    <>
      <section aria-label="Verdict" class="verdict-section">
        <VerdictOn shown={one} />
      </section>
      <div class="desk">
        <section aria-label="Findings" class="panel side"><h2>Findings</h2>{findingsOf(one)}</section>
        <div class="wide">
          <section aria-label="Heat map" class="panel"><h2>Layers over time</h2>{note}{tools}{mapOf(one, firstTile)}</section>
          {curves}
        </div>
      </div>
      <div class="pair">
        <ChainSection source={source} shown={one} view={view} change={change} />
        <HistogramSection source={source} shown={one} view={view} span={span} change={change} />
      </div>
    </>
  );
}

// What stays as it is while somebody zooms and moves is not made anew.
function VerdictOn({ shown: { run, readFraction } }: { shown: Shown }) {
  return useMemo(() => <Verdict findings={run.findings} live={run.live} readFraction={readFraction} />, [run, readFraction]);
}

function FoundIn({ shown: { run }, finding: key, change }: { shown: Shown; finding: string; change: Change }) {
  const { findings } = run.findings;
  return useMemo(() => (
    <FindingsList findings={run.findings} selected={findByKey(findings, key)}
      onSelect={(finding) => change({ finding: finding ? findingKey(findings, finding) : "" })} />
  ), [run, key, change]);
}

const NO_SHADES = { scale: { low: 0, high: 1 }, signedSize: 1 };

function CurvesSection(props: RunsProps & { span: Span; gutter: number }) {
  const { source, one, two, span, view, gutter, change } = props;
  const first = useCurves(source, one, span), second = useCurves(source, two, span);
  const runs = useMemo(() => [{ shown: one, tiles: first.value }, ...(two ? [{ shown: two, tiles: second.value }] : [])]
    .map(({ shown, tiles }) => ({
      id: shown.run.id, name: shown.run.name, tiles: tiles ?? {},
      trivial: shown.run.findings.loss.trivial === null ? null : Number(shown.run.findings.loss.trivial),
      full: !source.live || shown.run.findings.watching === null,
    })), [one.run, two?.run, first.value, second.value, source.live]);
  const marks = useMemo((): CurveMark[] => one.run.findings.findings.map((finding, index) =>
    ({ step: finding.since_step, label: String(index + 1), severity: finding.severity })), [one.run]);
  const there = first.value !== null || !first.busy;
  const curves = useMemo(() => there && (
    <Curves runs={runs} span={span} step={view.step} marks={two ? [] : marks} left={gutter} right={0}
      onSpan={(next) => change({ span: next })} onStep={(step) => change({ step })} />
  ), [there, runs, span.first, span.last, view.step, marks, two === null, gutter, change]);
  return (
    <section aria-label="Curves" class="panel" aria-busy={first.busy || second.busy}>
      <h2>Loss</h2>
      {first.error && <p class="problem" role="alert">{first.error.message}</p>}
      {curves}
    </section>
  );
}

interface PanelProps {
  source: Source;
  shown: Shown;
  view: View;
  named?: boolean; // with the run's name: there is another
  change: Change;
}

function ChainSection({ source, shown, view, named, change }: PanelProps) {
  const norms = useNorms(source, shown, view.step);
  const chain = useMemo(() => norms.value && (norms.value.norms.size > 0
    ? <Chain run={shown.run} norms={norms.value.norms} step={norms.value.step} layer={view.layer} onLayer={(layer) => change({ layer })} />
    : <p class="empty">The error signals were not measured up to this step.</p>), [shown.run, norms.value, view.layer, change]);
  const name = named ? `Chain rule of ${shown.run.name}` : "Chain rule";
  return (
    <section aria-label={name} class="panel" aria-busy={norms.busy}>
      <h2>{name}</h2>
      {norms.error && <p class="problem" role="alert">{norms.error.message}</p>}
      {chain}
    </section>
  );
}

const ROLES = ["gradient", "parameter", "error", "activation"];
const roleRank = (role: string): number => (ROLES.includes(role) ? ROLES.indexOf(role) : ROLES.length);
const roleName = (role: string): string => ({ parameter: "weight", error: "error signal" })[role] ?? role;

function HistogramSection({ source, shown, view, named, span, change }: PanelProps & { span: Span }) {
  const layers = shown.run.findings.network.layers;
  const layer = view.layer && view.layer <= layers.length ? view.layer : firstLayer(shown);
  const [chosen, choose] = useState("gradient");
  const roles = useMemo(() => [...shown.run.histograms].sort((a, b) => roleRank(a) - roleRank(b)), [shown.run]);
  const role = roles.includes(chosen) ? chosen : roles[0] ?? null;
  const tile = useHistogram(source, shown, role, layer, span);
  const leftOut = !source.live && role !== null && tile.value?.rows === 0;
  const histogram = useMemo(() => leftOut ? <p class="empty">The histograms were left out of this report, to keep it small.</p>
    : (tile.value || !role) && layer !== null && (
    <Histogram tile={tile.value} layer={layer} name={layerName(layers, layer)} role={roleName(role ?? "gradient")} span={span} step={view.step}
      onStep={(step) => change({ step })} />
  ), [leftOut, tile.value, role, layer, layers, span.first, span.last, view.step, change]);
  const name = named ? `Histogram of ${shown.run.name}` : "Histogram";
  return (
    <section aria-label={name} class="panel" aria-busy={tile.busy}>
      <div class="panel-head">
        <h2>{name}</h2>
        {roles.length > 1 && (
          <div class="segments" role="group" aria-label="Histogram of what">
            {roles.map((each) => <button key={each} type="button" aria-pressed={each === role} onClick={() => choose(each)}>{roleName(each)}s</button>)}
          </div>
        )}
      </div>
      {tile.error && <p class="problem" role="alert">{tile.error.message}</p>}
      {histogram}
    </section>
  );
}
