// SPDX-License-Identifier: Apache-2.0
// One run, or two beside each other.
import { useEffect, useMemo } from "preact/hooks";
import { useCurves, useHistogram, useNorms, useRun, useWholeTile, type Shown } from "./data";
import type { News } from "./live";
import { MapSection, Tools, downloadCsv, shadesOf, useFittedShades } from "./map/MapSection";
import { quantitiesOf, quantityOf, type Quantity } from "./map/quantities";
import { clamped } from "./map/view";
import { Chain, Curves, FindingsList, Histogram, Verdict, findingKey, layerName, openRoots, type CurveMark } from "./panels";
import type { Source, Span } from "./source/source";
import { cropTile } from "./source/tile";
import type { Finding } from "./source/types";
import type { View } from "./state";
import { useMedia } from "./media";

interface RunPageProps {
  source: Source;
  view: View;
  news: News;
  change(part: Partial<View>): void;
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
    const names = [one.shown?.run.name, two.shown?.run.name].filter(Boolean).join(" and ");
    document.title = names ? `${names} · Backprobe` : "Backprobe";
  }, [one.shown?.run.name, two.shown?.run.name]);
  const error = (!one.shown && one.error) || (!two.shown && two.error);
  if (error) return <p class="problem" role="alert">{error.message}</p>;
  if (!one.shown || (view.other && !two.shown)) return <p class="waiting" aria-busy="true">Reading the run…</p>;
  return <Runs source={source} view={view} one={one.shown} two={two.shown} change={change} />;
}

interface RunsProps {
  source: Source;
  view: View;
  one: Shown;
  two: Shown | null;
  change(part: Partial<View>): void;
}

function Runs({ source, view: told, one, two, change }: RunsProps) {
  const whole = useMemo(() => union(two ? [one.whole, two.whole] : [one.whole]), [one.whole, two?.whole]);
  const view = useMemo(() => ({ ...told, span: clamped(whole, told.span) }), [told, whole]);
  const quantity = useMemo(() => chosenQuantity(one, view.series), [one.run, view.series]);
  const series = quantity?.name ?? "";
  const firstTile = useWholeTile(source, one, series), secondTile = useWholeTile(source, two, series);
  const tiles = [firstTile.value, secondTile.value];
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
  const mapOf = (shown: Shown, wholeTile: typeof firstTile) => {
    const { findings } = shown.run.findings;
    return quantity && shown.run.findings.steps.records > 0
      ? <MapSection source={source} shown={shown} whole={whole} wholeTile={wholeTile} view={view} quantity={quantity} shades={shades}
        gutter={gutter} brushed={findByKey(findings, view.finding)} change={change}
        onFinding={(finding) => change({ finding: finding ? findingKey(findings, finding) : "" })} />
      : <p class="empty">Nothing has been recorded of this run’s layers yet.</p>;
  };
  const findingsOf = (shown: Shown) => {
    const { findings } = shown.run.findings;
    return <FindingsList findings={shown.run.findings} selected={findByKey(findings, view.finding)}
      onSelect={(finding) => change({ finding: finding ? findingKey(findings, finding) : "" })} />;
  };
  const curves = <CurvesSection source={source} one={one} two={two} span={span} view={view} gutter={two ? 56 : gutter} change={change} />;
  if (two) {
    const both: [Shown, typeof firstTile][] = [[one, firstTile], [two, secondTile]];
    return (
      <>
        <div class="pair">
          {both.map(([shown]) => (
            <section key={shown.run.id} aria-label={`Verdict on ${shown.run.name}`}>
              <h2 class="run-name">{shown.run.name}</h2>
              <Verdict findings={shown.run.findings} live={shown.run.live} readFraction={shown.readFraction} />
            </section>
          ))}
        </div>
        <section aria-label="Heat map" class="panel">
          <h2>Layers over time</h2>
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
        <Verdict findings={one.run.findings} live={one.run.live} readFraction={one.readFraction} />
      </section>
      <div class="desk">
        <section aria-label="Findings" class="panel side"><h2>Findings</h2>{findingsOf(one)}</section>
        <div class="wide">
          <section aria-label="Heat map" class="panel"><h2>Layers over time</h2>{tools}{mapOf(one, firstTile)}</section>
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
  return (
    <section aria-label="Curves" class="panel" aria-busy={first.busy || second.busy}>
      <h2>Loss</h2>
      {first.error && <p class="problem" role="alert">{first.error.message}</p>}
      <Curves runs={runs} span={span} step={view.step} marks={two ? [] : marks} left={gutter} right={0}
        onSpan={(next) => change({ span: next })} onStep={(step) => change({ step })} />
    </section>
  );
}

interface PanelProps {
  source: Source;
  shown: Shown;
  view: View;
  named?: boolean; // with the run's name: there is another
  change(part: Partial<View>): void;
}

function ChainSection({ source, shown, view, named, change }: PanelProps) {
  const step = view.step ?? shown.whole.last;
  const norms = useNorms(source, shown, Math.min(step, shown.whole.last));
  const name = named ? `Chain rule of ${shown.run.name}` : "Chain rule";
  return (
    <section aria-label={name} class="panel" aria-busy={norms.busy}>
      <h2>{name}</h2>
      {norms.error && <p class="problem" role="alert">{norms.error.message}</p>}
      {norms.value && (norms.value.norms.size > 0
        ? <Chain run={shown.run} norms={norms.value.norms} step={norms.value.step} layer={view.layer} onLayer={(layer) => change({ layer })} />
        : <p class="empty">The error signals were not measured up to this step.</p>)}
    </section>
  );
}

function HistogramSection({ source, shown, view, named, span, change }: PanelProps & { span: Span }) {
  const layers = shown.run.findings.network.layers;
  const layer = view.layer && view.layer <= layers.length ? view.layer : firstLayer(shown);
  const role = shown.run.histograms[0] ?? null;
  const tile = useHistogram(source, shown, role, layer, span);
  const name = named ? `Histogram of ${shown.run.name}` : "Histogram";
  return (
    <section aria-label={name} class="panel" aria-busy={tile.busy}>
      <h2>{name}</h2>
      {tile.error && <p class="problem" role="alert">{tile.error.message}</p>}
      {(tile.value || !role) && layer !== null && (
        <Histogram tile={tile.value} layer={layer} name={layerName(layers, layer)} role={role ?? "gradient"} span={span} step={view.step}
          onStep={(step) => change({ step })} />
      )}
    </section>
  );
}
