// SPDX-License-Identifier: Apache-2.0
// The list of runs: newest first, hundreds of them.
import { useMemo, useState } from "preact/hooks";
import type { News } from "./live";
import { useResource } from "./resource";
import type { Source } from "./source/source";
import type { RunSummary } from "./source/types";
import { formatView, FIRST_VIEW, type Change } from "./state";
import { bytes, integer, measured, plural } from "./words";

const runAddress = (run: string, other: string | null = null): string => formatView({ ...FIRST_VIEW, run, other });

const when = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

function verdictWords(run: RunSummary): string {
  if (run.problem) return run.problem.replaceAll("-", " ");
  if (run.n_findings === null) return run.live ? "watching" : "not judged yet";
  return run.n_findings > 0 ? "findings are over" : "healthy";
}

const markOf = (run: RunSummary): string => run.severity ?? (run.n_findings === null ? "unknown" : "good");

const SIGNS: Record<string, string> = { error: "✕", warning: "!", hint: "i", good: "✓", unknown: "·" };

function Row(props: { run: RunSummary; dated: boolean; chosen: boolean; onChoose(chosen: boolean): void; onOpen(): void }) {
  const { run, dated, chosen, onChoose, onOpen } = props;
  const mark = markOf(run);
  return (
    <tr>
      <td class="run-compare"><input type="checkbox" aria-label={`Compare ${run.name}`} checked={chosen}
        onChange={(event) => onChoose(event.currentTarget.checked)} /></td>
      <th scope="row">
        <span class="run-cell"><a href={runAddress(run.id)} onClick={(event) => {
          if (event.ctrlKey || event.metaKey || event.shiftKey) return;
          event.preventDefault();
          onOpen();
        }}>{run.name}</a>
        {run.live && <span class="live-mark"><i aria-hidden="true" />live</span>}</span>
      </th>
      <td class={`run-verdict ${mark}`}><i aria-hidden="true" class="sign">{SIGNS[mark]}</i>
        {run.severity && <span class="run-severity">{run.severity}: </span>}{verdictWords(run)}</td>
      <td class="figure">{run.last_step === null ? "" : integer(run.last_step)}</td>
      <td class="figure">{run.loss === null ? "" : measured(run.loss)}</td>
      {dated && <td class="figure">{bytes(run.bytes)}</td>}
      {dated && <td class="figure when">{when.format(new Date(run.modified * 1000))}</td>}
    </tr>
  );
}

interface RunsListProps {
  source: Source;
  news: News;
  change: Change;
}

export function RunsList({ source, news, change }: RunsListProps) {
  const list = useResource({ subject: "runs", place: "", stamp: `${news.epoch} ${news.list}` }, () => source.runs());
  const [filter, setFilter] = useState("");
  const [chosen, setChosen] = useState<string[]>([]);
  const runs = list.value?.runs ?? [];
  const words = filter.toLowerCase().split(/\s+/).filter(Boolean);
  const shown = useMemo(() => runs.filter((run) => {
    const text = `${run.name} ${run.severity ?? ""} ${verdictWords(run)} ${run.live ? "live" : ""}`.toLowerCase();
    return words.every((word) => text.includes(word));
  }).sort((a, b) => b.modified - a.modified), [list.value, filter]);
  const dated = source.live;
  const choose = (id: string, is: boolean): void =>
    setChosen(is ? [...chosen, id].slice(-2) : chosen.filter((each) => each !== id)); // the last two
  return (
    <section aria-label="Runs" class="runs" aria-busy={list.busy}>
      <div class="runs-head">
        <h1>{list.value?.folder ? `Runs in ${list.value.folder}` : "Runs"}</h1>
        <div class="runs-tools">
          <input type="search" aria-label="Filter runs" placeholder="Filter by name, problem, live" value={filter}
            onInput={(event) => setFilter(event.currentTarget.value)} />
          <button type="button" class="tool" disabled={chosen.length !== 2}
            onClick={() => change({ ...FIRST_VIEW, run: chosen[0]!, other: chosen[1]! })}>Compare</button>
        </div>
      </div>
      {list.error && <p class="problem" role="alert">{list.error.message}</p>}
      {!list.value && list.busy && <p class="waiting">Looking for runs…</p>}
      {list.value && runs.length === 0 && (
        <p class="empty">No runs in this folder yet. A training that is watched appears here by itself: <code>backprobe train NET.yaml</code>,
          or <code>backprobe.watch(model, optimizer)</code> in Python.</p>
      )}
      {runs.length > 0 && (
        <>
          <p class="runs-count" role="status">{filter ? `${integer(shown.length)} of ${plural(runs.length, "run")}` : plural(runs.length, "run")}
            {chosen.length === 1 ? "; tick another one to compare" : ""}</p>
          <div class="runs-table">
            <table>
              <thead><tr><th scope="col"><span class="hidden">Compare</span></th><th scope="col">Run</th><th scope="col">Verdict</th>
                <th scope="col" class="figure">Last step</th><th scope="col" class="figure">Loss</th>
                {dated && <th scope="col" class="figure">Log</th>}{dated && <th scope="col" class="figure">Changed</th>}</tr></thead>
              <tbody>
                {shown.map((run) => (
                  <Row key={run.id} run={run} dated={dated} chosen={chosen.includes(run.id)} onChoose={(is) => choose(run.id, is)}
                    onOpen={() => change({ ...FIRST_VIEW, run: run.id })} />
                ))}
              </tbody>
            </table>
          </div>
        </>
      )}
    </section>
  );
}
