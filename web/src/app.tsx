// SPDX-License-Identifier: Apache-2.0
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { Help } from "./help";
import { useNews, type News } from "./live";
import { useResource } from "./resource";
import { RunPage } from "./run_page";
import { RunsList } from "./runs";
import type { Source } from "./source/source";
import type { RunSummary } from "./source/types";
import { FIRST_VIEW, useView, type Change, type View } from "./state";
import { chooseTheme, themeChoice, type ThemeChoice } from "./theme";

const NEXT_THEME: Record<ThemeChoice, ThemeChoice> = { system: "light", light: "dark", dark: "system" };
const THEME_NAMES: Record<ThemeChoice, string> = { system: "System theme", light: "Light theme", dark: "Dark theme" };

function ThemeButton() {
  const [theme, setTheme] = useState(themeChoice);
  const next = (): void => {
    setTheme(NEXT_THEME[theme]);
    chooseTheme(NEXT_THEME[theme]);
  };
  return <button type="button" class="bare" title="Change between light, dark and the system’s" onClick={next}>{THEME_NAMES[theme]}</button>;
}

function Connection({ source, news, live }: { source: Source; news: News; live: boolean }) {
  if (!source.live) return null;
  const lost = news.connected === false;
  return (
    <span role="status" class="connection">
      {lost ? <span class="lost">connection lost, trying again…</span>
        : live && <span class="live-mark"><i aria-hidden="true" />live</span>}
    </span>
  );
}

function CompareChoice({ runs, view, change }: { runs: RunSummary[]; view: View; change: Change }) {
  const others = useMemo(() => runs.filter(({ id }) => id !== view.run).sort((a, b) => b.modified - a.modified), [runs, view.run]);
  if (others.length === 0) return null;
  return (
    <label class="field compare"><span>Compare with</span>
      <select aria-label="Compare with" value={view.other ?? ""} onChange={(event) => change({ other: event.currentTarget.value || null })}>
        <option value="" selected={!view.other}>none</option>
        {others.map(({ id, name }) => <option key={id} value={id} selected={id === view.other}>{name}</option>)}
      </select>
    </label>
  );
}

export function App({ source }: { source: Source }) {
  const [view, change] = useView();
  const [help, setHelp] = useState(false);
  const [known, setKnown] = useState<ReadonlySet<string>>(new Set());
  const ids = useMemo(() => [view.run, view.other].filter((id) => id !== null), [view.run, view.other]);
  const news = useNews(source, ids.filter((id) => known.has(id))); // an address may name a run that is not there
  const list = useResource({ subject: "runs", place: "", stamp: `${news.epoch} ${news.list}` }, () => source.runs());
  const runs = list.value?.runs ?? [];
  useEffect(() => setKnown(new Set(runs.map(({ id }) => id))), [list.value]);
  const run = view.run ? runs.find(({ id }) => id === view.run) : undefined;
  const first = source.live ? null : runs[0]?.id ?? null; // a report begins with its run
  const begun = useRef(false);
  useEffect(() => {
    if (first && !view.run && !begun.current) change({ run: first }, true);
    begun.current ||= first !== null;
  }, [first, view.run, change]);
  useEffect(() => {
    const pressed = (event: KeyboardEvent): void => {
      if (event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement) return;
      if (event.key === "?") setHelp(true);
      if (event.key === "Escape" && !document.querySelector("dialog[open]")) change({ finding: "" });
    };
    addEventListener("keydown", pressed);
    return () => removeEventListener("keydown", pressed);
  }, [change]);
  useEffect(() => {
    if (!view.run) document.title = "Runs · Backprobe";
  }, [view.run]);
  const live = view.run ? ids.some((id) => runs.find((each) => each.id === id)?.live) : runs.some((each) => each.live);
  const toMain = (event: Event): void => {
    event.preventDefault();
    document.getElementById("main")?.focus();
  };
  return (
    <>
      <a class="skip" href="#main" onClick={toMain}>Skip to the content</a>
      <header class="head">
        <p class="brand">backprobe</p>
        {view.run && (runs.length > 1 || source.live) && (
          <nav aria-label="Place"><a href="#" class="crumb" onClick={(event) => { event.preventDefault(); change({ ...FIRST_VIEW }); }}>
            All runs</a>{run && <><span aria-hidden="true" class="slash">/</span><span class="here">{run.name}</span></>}</nav>
        )}
        {view.run && !(runs.length > 1 || source.live) && run && <p class="here">{run.name}</p>}
        <Connection source={source} news={news} live={live} />
        <span class="head-gap" />
        {view.run && <CompareChoice runs={runs} view={view} change={change} />}
        <ThemeButton />
        <button type="button" class="bare" aria-haspopup="dialog" onClick={() => setHelp(true)}>Keys</button>
      </header>
      <main id="main" tabIndex={-1}>
        {view.run ? <RunPage source={source} view={view} news={news} change={change} /> : <RunsList source={source} news={news} change={change} />}
        <p id="map-keys" class="hidden">Arrow keys move, plus and minus zoom, 0 shows the whole run, question mark tells all keys.</p>
      </main>
      <Help open={help} onClose={() => setHelp(false)} />
    </>
  );
}
