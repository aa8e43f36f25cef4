// SPDX-License-Identifier: Apache-2.0
// What a view asks its source for.
import { useMemo } from "preact/hooks";
import type { RunNews } from "./live";
import { useResource, type Resource } from "./resource";
import type { Source, Span } from "./source/source";
import { valueAt, type Tile } from "./source/tile";
import type { Run } from "./source/types";
import { CURVE_SERIES } from "./panels";

const SETTLE = { delayMs: 60, everyMs: 500 }; // a wheel turns on
const UNHURRIED = { delayMs: 0, everyMs: 2000 };
const SELDOM = { delayMs: 60, everyMs: 1000 };

/** As many columns as the screen can show, in steps that do not change with every pixel. */
export const screenColumns = (): number =>
  Math.min(Math.max(Math.round(innerWidth * (devicePixelRatio || 1) / 200) * 200, 400), 1600);

/** A run, and its newest step as it is known now. */
export interface Shown {
  run: Run;
  whole: Span;
  readFraction: number;
  stamp: string; // another one: there may be more to ask for
}

export function useRun(source: Source, id: string | null, news: RunNews | undefined,
  epoch: number): { shown: Shown | null; error: Error | null } {
  const run = useResource(id ? { subject: id, place: "", stamp: `${epoch} ${news?.documents ?? 0} ${news?.lastStep ?? 0}` } : null,
    () => source.run(id!), UNHURRIED);
  const document = run.value;
  const shown = useMemo(() => {
    if (!document) return null;
    const { first, last } = document.findings.steps;
    const from = first ?? 0;
    return {
      run: document, stamp: document.live ? `${epoch} ${news?.lastStep ?? 0}` : String(epoch), // its log is whole
      whole: { first: from, last: Math.max(last ?? from, news?.lastStep ?? 0, from) },
      readFraction: news ? Math.max(news.readFraction, document.read_fraction) : document.read_fraction,
    };
  }, [document, epoch, news?.lastStep, news?.readFraction]);
  return { shown, error: run.error };
}

const has = (run: Run, series: string): boolean => run.series.some(({ name }) => name === series);

const isWhole = (shown: Shown, span: Span): boolean => span.first <= shown.whole.first && span.last >= shown.whole.last;

/** Of what ends before the newest step nothing more can come. */
const questionOf = (shown: Shown, what: string, span: Span) => ({
  subject: `${shown.run.id} ${what}`,
  place: isWhole(shown, span) ? "whole" : `${span.first} ${span.last}`,
  stamp: span.last >= shown.whole.last ? `${shown.stamp} ${span.last}` : "",
});

/** The whole run in the map's columns, also where it has got longer than anybody told. */
export function useWholeTile(source: Source, shown: Shown | null, series: string): Resource<Tile> {
  const asked = shown && has(shown.run, series) ? shown : null;
  const span = { first: asked?.whole.first ?? 0, last: Number.MAX_SAFE_INTEGER };
  return useResource(asked && { subject: `${asked.run.id} ${series}`, place: "whole", stamp: asked.stamp },
    (signal) => source.tile(asked!.run.id, series, span, screenColumns(), signal));
}

/** What is seen, finer than the whole has it. */
export function useDetail(source: Source, shown: Shown | null, series: string, span: Span | null): Resource<Tile> {
  const asked = source.live && shown && span && has(shown.run, series) ? shown : null;
  return useResource(asked && questionOf(asked, series, span!),
    (signal) => source.tile(asked!.run.id, series, span!, screenColumns(), signal), SETTLE);
}

export function useCurves(source: Source, shown: Shown | null, span: Span): Resource<Record<string, Tile>> {
  const series = shown ? CURVE_SERIES.filter((name) => has(shown.run, name)) : [];
  return useResource(shown && series.length > 0 ? questionOf(shown, "curves", span) : null,
    async (signal) => Object.fromEntries(await Promise.all(series.map(async (name) =>
      [name, await source.tile(shown!.run.id, name, span, screenColumns(), signal)] as const))), SETTLE);
}

const NORM = "error_norm";

/** The error signal's norm of each layer, at a step or at the last one before that it was measured at.
 *  step null: the newest. */
export function useNorms(source: Source, shown: Shown | null, step: number | null): Resource<{ step: number; norms: Map<number, number> }> {
  const asked = shown && has(shown.run, NORM) ? shown : null;
  const at = Math.min(step ?? Infinity, asked?.whole.last ?? 0);
  const stamp = asked && step === null ? `${asked.stamp} ${at}` : "";
  return useResource(asked && { subject: `${asked.run.id} norms`, place: String(step), stamp }, async (signal) => {
    for (let back = 63; ; back *= 16) {
      const first = Math.max(at - back, asked!.whole.first);
      const tile = await source.tile(asked!.run.id, NORM, { first, last: at }, 64, signal);
      const found = lastNorms(tile, at);
      if (found || first <= asked!.whole.first) return found ?? { step: at, norms: new Map<number, number>() };
    }
  }, SELDOM);
}

function lastNorms(tile: Tile, step: number): { step: number; norms: Map<number, number> } | null {
  for (let column = tile.columns - 1; column >= 0; column--) {
    if (tile.starts[column]! > step) continue;
    const norms = new Map<number, number>();
    for (let row = 0; row < tile.rows; row++) {
      const value = valueAt(tile, "mean", row, column);
      if (value !== null) norms.set(row, value);
    }
    if (norms.size > 0) return { step: tile.starts[column]!, norms };
  }
  return null;
}

const HISTOGRAM_COLUMNS = 200;

export function useHistogram(source: Source, shown: Shown | null, role: string | null, layer: number | null, span: Span): Resource<Tile> {
  const asked = shown && role && layer !== null && layer > 0 ? shown : null;
  return useResource(asked && questionOf(asked, `${role} ${layer}`, span),
    (signal) => source.histogram(asked!.run.id, role!, layer!, span, HISTOGRAM_COLUMNS, signal), SELDOM);
}
