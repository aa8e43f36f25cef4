// SPDX-License-Identifier: Apache-2.0
// The findings: roots with their numbers, what each rests on and what helps, and beneath them what
// they explain.
import { useState } from "preact/hooks";
import type { Finding, Findings, Layer } from "../source/types";
import { Evidence, Symptoms } from "./evidence";
import { usePrinting } from "./layout";
import { RootNumber, SeverityMark, Title } from "./marks";
import { layerRange, plural } from "../words";
import { Profile } from "./profile";
import { Remedy } from "./remedy";
import { countBelow, findingKey, keysOf, openRoots, sentence, whenOf } from "./sentences";

const MAX_DEPTH = 8; // of consequences: a log may be hostile

function layersOf(finding: Finding): string {
  const [first, ...more] = finding.layers;
  if (!first) return "the network";
  if (more.length === 0) return first.name ? `layer ${first.id}, ${first.name}` : `layer ${first.id}`;
  return `layers ${layerRange(finding.layers.map((l) => l.id))}`;
}

function Paragraph({ label, text }: { label: string; text: string }) {
  if (!text) return null;
  return <p><span class="label">{label}</span>{text}</p>;
}

function Body({ finding, layers }: { finding: Finding; layers: Layer[] }) {
  return (
    <>
      <p class="where">{layersOf(finding)}, {whenOf(finding)}</p>
      <Paragraph label="cause" text={finding.cause} />
      <Paragraph label="note" text={finding.note} />
      <Profile finding={finding} layers={layers} />
      {finding.remedy && <Remedy remedy={finding.remedy} />}
      <Evidence evidence={finding.evidence} layers={layers} />
      <Symptoms symptoms={finding.symptoms} />
      <p class="explain">more: <code>backprobe explain {finding.problem}</code></p>
    </>
  );
}

interface Shared {
  layers: Layer[];
  isOpen: (key: string) => boolean;
  selected: string;
  onPress: (finding: Finding, key: string) => void;
}

function Head({ finding, id, n, shared }: { finding: Finding; id: string; n: number; shared: Shared }) {
  const open = shared.isOpen(id);
  const below = countBelow(finding);
  return (
    <button type="button" class="finding-head" aria-expanded={open}
      aria-current={shared.selected === id ? "true" : undefined}
      onClick={() => shared.onPress(finding, id)}>
      <span class="finding-sign">
        {n > 0 && <RootNumber n={n} />}
        <SeverityMark mark={finding.severity} />
      </span>
      <span class="finding-name">
        <span class="finding-kind">
          <span class={`ink-${finding.severity}`}>{finding.severity}</span> {finding.problem}
          {!finding.open && <span class="over">over</span>}
        </span>
        <span class="finding-title"><Title text={sentence(finding.title, shared.layers)} /></span>
        {!open && <span class="finding-when">
          {whenOf(finding)}{below > 0 && ` · explains ${plural(below, "more", "more")}`}
        </span>}
      </span>
      <svg class="chevron" viewBox="0 0 12 12" aria-hidden="true" focusable="false"><path d="M2 4l4 4l4-4" /></svg>
    </button>
  );
}

function Item({ finding, id, n, depth, shared }: {
  finding: Finding; id: string; n: number; depth: number; shared: Shared;
}) {
  const open = shared.isOpen(id);
  return (
    <li class={`finding${finding.open ? "" : " finding-over"}${shared.selected === id ? " finding-selected" : ""}`}>
      <Head finding={finding} id={id} n={n} shared={shared} />
      {open && <div class="finding-body"><Body finding={finding} layers={shared.layers} /></div>}
      {open && finding.consequences.length > 0 && depth < MAX_DEPTH && (
        <div class="consequences">
          <p class="label">what follows from it</p>
          <Items siblings={finding.consequences} parent={id} depth={depth + 1} shared={shared} />
        </div>
      )}
    </li>
  );
}

function Items({ siblings, parent, depth, shared }: {
  siblings: Finding[]; parent: string; depth: number; shared: Shared;
}) {
  const keys = keysOf(siblings, parent);
  return (
    <ol class={depth === 0 ? "findings" : "findings findings-below"}>
      {siblings.map((finding, i) => (
        <Item key={keys[i]} id={keys[i] ?? ""} finding={finding} n={depth === 0 ? i + 1 : 0}
          depth={depth} shared={shared} />
      ))}
    </ol>
  );
}

export interface FindingsListProps {
  findings: Findings;
  selected: Finding | null; // of this document
  onSelect: (finding: Finding | null) => void;
}

/** A press opens and selects; another one closes. What was open stays open when the document comes anew. */
export function FindingsList({ findings, selected, onSelect }: FindingsListProps) {
  const worst = openRoots(findings)[0];
  const [pressed, setPressed] = useState<ReadonlyMap<string, boolean>>(new Map());
  const printing = usePrinting();
  const first = worst ? findingKey(findings.findings, worst) : "";
  const chosen = selected ? findingKey(findings.findings, selected) : "";
  const isOpen = (key: string): boolean => printing || (pressed.get(key) ?? key === first); // the worst one at first
  const onPress = (finding: Finding, key: string): void => {
    const close = isOpen(key) && chosen === key;
    setPressed(new Map(pressed).set(key, !close));
    onSelect(close ? null : finding);
  };
  if (findings.findings.length === 0)
    return <p class="no-findings">No findings.</p>;
  return <Items siblings={findings.findings} parent="" depth={0}
    shared={{ layers: findings.network.layers, isOpen, selected: chosen, onPress }} />;
}
