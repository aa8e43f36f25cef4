// SPDX-License-Identifier: Apache-2.0
// What a page is told of runs. Written in C: src/report/run_document.c (schema backprobe.run/1),
// src/report/json.c (backprobe.findings/1), src/report/tile.h; described in docs/page.md. Names and
// sentences come from hostile files: they reach the page as text only.

/** A number; what is not finite comes as a string, what was not measured as null. */
export type Measured = number | "NaN" | "Infinity" | "-Infinity" | null;

export type Severity = "error" | "warning" | "hint";
export type End = "finished" | "interrupted" | "stopped" | "open";

export interface Layer {
  id: number; // 1 ... L in forward order
  name: string; // a path: blocks.0.attn.proj
  kind: string;
  activation: string;
  norm: string;
  frozen: boolean;
  fan_in: number;
  fan_out: number;
}

export interface Evidence {
  name: string;
  meaning: string;
  layer: number; // 0: the network, or its input
  step: number;
  value: Measured;
}

export interface Gain {
  layer: number;
  error_norm: Measured;
  share: Measured;
  gain: Measured;
  contribution: Measured;
}

export interface Symptom {
  exploding: string;
  vanishing: string;
  measured: string;
  speaks_for_exploding: boolean;
  speaks_for_vanishing: boolean;
}

export interface DiffLine {
  added: boolean;
  line: number; // in the file before (removed) or after (added)
  text: string;
}

export interface Remedy {
  title: string;
  reason: string;
  edits: { key: string; value: string }[];
  code: string | null; // lines of Python
  diff: DiffLine[] | null; // of the network file, where there is one
}

export interface Finding {
  problem: string;
  severity: Severity;
  since_step: number;
  since_earliest: number;
  since_latest: number;
  last_step: number;
  open: boolean;
  layers: { id: number; name: string | null }[];
  title: string;
  cause: string;
  note: string;
  evidence: Evidence[];
  gains: Gain[];
  symptoms: Symptom[];
  remedy: Remedy | null;
  consequences: Finding[];
}

/** backprobe.findings/1: the parts that the page shows. */
export interface Findings {
  schema: string;
  version: string;
  run: string;
  network: { origin: string | null; layers: Layer[] };
  end: End;
  steps: { first: number | null; last: number | null; records: number };
  loss: { first: Measured; last: Measured; best: Measured; trivial: Measured };
  not_observed: string;
  not_judged: { problem: string; missing: string }[];
  watching: { every: number | null; budget_fraction: number | null; full_steps: number;
    light_steps: number; watch_seconds: number; run_seconds: number } | null;
  damage: { lost_records: number; damaged_places: number; lost_bytes: number } | null;
  ignored: number;
  findings: Finding[];
}

export interface Series {
  name: string; // "gradient_rms", "gain", "loss" …
  meaning: string;
  of: "layers" | "network";
}

/** backprobe.run/1 */
export interface Run {
  schema: string;
  id: string;
  name: string;
  live: boolean;
  read_fraction: number; // of the log, that the findings rest on; below 1: there will be more
  path: number[]; // the layers that every way from input to loss crosses, from 0 (the input) on
  series: Series[];
  histograms: string[]; // roles of which there are histograms: "gradient"; layers are asked for one by one
  findings: Findings;
  view_columns: number | null; // embedded: at most so many columns of the whole run are there
}

export interface RunSummary {
  id: string;
  name: string;
  modified: number; // seconds since 1970
  bytes: number;
  live: boolean;
  // as the run folder's findings.json tells, null without one
  end: End | null;
  last_step: number | null;
  loss: Measured;
  severity: Severity | null; // of the worst open finding
  problem: string | null;
  n_findings: number | null;
}

export interface RunList {
  schema: string; // "backprobe.runs/1"
  folder: string; // its name, not its path
  runs: RunSummary[];
}

/** An event of the stream /api/events?run=ID&run=ID */
export type LiveEvent =
  | { type: "runs" } // the list changed: ask again
  | { type: "run"; id: string; last_step: number; findings: boolean; read_fraction: number };
// findings: the document changed beyond its last step

/** The data of a report, in <script type="application/json" id="backprobe-data">. */
export interface Embedded {
  schema: string; // "backprobe.page/1"
  version: string;
  note: string; // how it was made smaller; "" when it was not
  runs: {
    run: Run;
    tiles: Record<string, string>; // by series: base64 of a zlib stream of a tile over the whole run
    histograms: Record<string, Record<string, string>>; // by role and layer, likewise
  }[];
}
