// SPDX-License-Identifier: Apache-2.0
// Findings in words, and which one is which when the document comes anew.
import type { End, Finding, Findings, Layer, Severity } from "../source/types";
import { asNumber, integer, layerRange, measured, plural } from "../words";

const RANK: Record<Severity, number> = { error: 0, warning: 1, hint: 2 };
const WIDE = 10; // steps: a narrower onset is told as one

/** The roots by weight; the first is what the verdict says. */
export function openRoots(findings: Findings): Finding[] {
  return findings.findings.filter((f) => f.open)
    .sort((a, b) => RANK[a.severity] - RANK[b.severity]); // stable: else as the document has them
}

/** From 1, as the map, the curves and the list number them; 0: no root. */
export function rootNumber(findings: Findings, root: Finding): number {
  return findings.findings.indexOf(root) + 1;
}

function ownKey(finding: Finding): string {
  return `${finding.problem} ${layerRange(finding.layers.slice(0, 1).map((l) => l.id))}`;
}

/** Keys of siblings, which stay when a document comes anew. */
export function keysOf(siblings: Finding[], parent = ""): string[] {
  const seen = new Map<string, number>();
  return siblings.map((finding) => {
    const key = ownKey(finding);
    const n = seen.get(key) ?? 0;
    seen.set(key, n + 1);
    return `${parent}/${key} ${n}`;
  });
}

/** "" where it is not in the document. */
export function findingKey(findings: Finding[], wanted: Finding, parent = ""): string {
  const keys = keysOf(findings, parent);
  for (const [i, finding] of findings.entries()) {
    const key = keys[i] ?? "";
    if (finding === wanted) return key;
    const below = findingKey(finding.consequences, wanted, key);
    if (below) return below;
  }
  return "";
}

export function countBelow(finding: Finding): number {
  return finding.consequences.reduce((n, c) => n + 1 + countBelow(c), 0);
}

/** A sentence begins with a capital letter, a name stays as it is. */
export function sentence(title: string, layers: Layer[]): string {
  const word = /^[a-z]+(?=[ ,])/.exec(title)?.[0];
  if (!word || layers.some((l) => l.name === word)) return title;
  return title.charAt(0).toUpperCase() + title.slice(1);
}

export function whenOf(finding: Finding): string {
  const wide = finding.since_latest - finding.since_earliest >= WIDE;
  const onset = wide ? `${integer(finding.since_earliest)}–${integer(finding.since_latest)}`
    : integer(finding.since_step);
  return finding.open ? `since step ${onset}` : `from step ${onset} to ${integer(finding.last_step)}`;
}

export function endWords(end: End, live: boolean): string {
  if (live) return "running";
  return {
    finished: "finished",
    interrupted: "interrupted",
    stopped: "stopped: no longer finite",
    open: "no end recorded",
  }[end];
}

export function lossFell(findings: Findings): boolean {
  const first = asNumber(findings.loss.first);
  const last = asNumber(findings.loss.last);
  return first !== null && last !== null && last < first;
}

/** The quiet line of a run without open findings. */
export function healthyTitle(findings: Findings, readFraction: number): string {
  if (findings.steps.records === 0) return "Nothing recorded yet";
  if (readFraction < 1) return "No findings so far";
  if (!lossFell(findings)) return "No findings";
  const over = findings.findings.length > 0;
  return over ? "Healthy again: it trains" : "Healthy: it trains";
}

export function healthyText(findings: Findings): string {
  const n = findings.steps.records;
  if (n === 0) return "";
  const over = findings.findings.length;
  const text = `${plural(n, "step")} looked at`;
  const loss = lossFell(findings)
    ? `; the loss fell from ${measured(findings.loss.first)} to ${measured(findings.loss.last)}`
    : "; but the loss is not lower than at the start";
  const past = over === 0 ? "" : over === 1 ? "; one finding is over" : `; ${integer(over)} findings are over`;
  return `${text}${loss}${past}.`;
}

/** dense_7, or layer 7 where it has no name. */
export function layerName(layers: Layer[], id: number): string {
  if (id === 0) return "network";
  return layers[id - 1]?.name || `layer ${id}`;
}
