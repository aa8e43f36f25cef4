// SPDX-License-Identifier: Apache-2.0
// What the page shows, as its address tells: so that a view can be kept, mailed and gone back to.
// Addresses come from anywhere: what they do not say properly is left out.
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import type { Span } from "./source/source";
import type { Show } from "./map/codes";
import type { Scheme } from "./map/colours";

export interface View {
  run: string | null; // null: the list of runs
  other: string | null; // beside it
  series: string;
  show: Show;
  scheme: Scheme;
  span: Span | null; // null: all, and what comes
  step: number | null; // null: the newest
  layer: number | null;
  finding: string; // its key; "": none
  table: boolean;
}

export const FIRST_VIEW: View = {
  run: null, other: null, series: "gradient_rms", show: "worst", scheme: "viridis", span: null, step: null, layer: null,
  finding: "", table: false,
};

const MOST_CHARACTERS = 2000;

function count(text: string | null): number | null {
  return text !== null && /^\d{1,15}$/.test(text) ? Number(text) : null;
}

function spanOf(text: string | null): Span | null {
  const match = /^(\d{1,15})-(\d{1,15})$/.exec(text ?? "");
  if (!match) return null;
  const first = Number(match[1]), last = Number(match[2]);
  return first < last ? { first, last } : null;
}

export function parseView(hash: string): View {
  const told = new URLSearchParams(hash.slice(0, MOST_CHARACTERS).replace(/^#/, ""));
  const run = told.get("run") || null;
  const series = told.get("q") ?? "";
  return {
    run,
    other: run ? told.get("with") || null : null,
    series: /^[a-z0-9_]{1,64}$/.test(series) ? series : FIRST_VIEW.series,
    show: told.get("show") === "mean" ? "mean" : "worst",
    scheme: told.get("colours") === "cividis" ? "cividis" : "viridis",
    span: spanOf(told.get("s")),
    step: count(told.get("step")),
    layer: count(told.get("layer")),
    finding: (told.get("finding") ?? "").slice(0, 200),
    table: told.get("table") === "1",
  };
}

export function formatView(view: View): string {
  const told = new URLSearchParams();
  const tell = (key: string, value: string | number | null, usual: string | null): void => {
    if (value !== null && String(value) !== usual) told.set(key, String(value));
  };
  tell("run", view.run, null);
  tell("with", view.other, null);
  tell("q", view.series, FIRST_VIEW.series);
  tell("show", view.show, FIRST_VIEW.show);
  tell("colours", view.scheme, FIRST_VIEW.scheme);
  tell("s", view.span && `${view.span.first}-${view.span.last}`, null);
  tell("step", view.step, null);
  tell("layer", view.layer, null);
  tell("finding", view.finding, "");
  tell("table", view.table ? 1 : 0, "0");
  const text = told.toString();
  return text && `#${text}`;
}

const QUIET_MS = 250; // browsers bear only so many changes of the address

export type Change = (part: Partial<View>, replace?: boolean) => void;

/** The view and how to change it. Another run is a step that "back" undoes; the rest is not. */
export function useView(): [View, Change] {
  const [view, setView] = useState(() => parseView(location.hash));
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  const now = useRef(view);
  now.current = view;
  useEffect(() => {
    const went = (): void => setView(parseView(location.hash));
    addEventListener("hashchange", went);
    addEventListener("popstate", went);
    return () => {
      removeEventListener("hashchange", went);
      removeEventListener("popstate", went);
    };
  }, []);
  const change = useCallback<Change>((part, replace = false) => {
    const next = { ...now.current, ...part };
    const elsewhere = !replace && (next.run !== now.current.run || next.other !== now.current.other);
    now.current = next;
    setView(next);
    const write = (): void => {
      const address = formatView(now.current) || location.pathname + location.search;
      if (elsewhere) history.pushState(null, "", address);
      else history.replaceState(null, "", address);
    };
    clearTimeout(timer.current);
    if (elsewhere) write();
    else timer.current = setTimeout(write, QUIET_MS);
  }, []);
  return [view, change];
}
