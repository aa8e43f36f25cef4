// SPDX-License-Identifier: Apache-2.0
// Over the map: the findings' onsets and layers, what is chosen, what is being framed.
import type { Finding } from "../source/types";
import type { Span } from "../source/source";
import { integer } from "../words";
import { placed } from "./place";
import { lineOfRow, type Plan } from "./rows";
import type { Window } from "./paint";

export interface Mark {
  number: number; // of the root, from 1
  key: string;
  finding: Finding;
}

interface OverlayProps {
  plan: Plan;
  window: Window;
  width: number;
  height: number;
  marks: Mark[];
  brushed: Finding | null; // all but this is dimmed
  step: number | null;
  line: number;
  hovered: Span | null; // steps
  frame: { x0: number; x1: number; y0: number; y1: number } | null; // pixels
}

/** Pixels from the left. */
export const xOf = (window: Window, width: number, step: number): number =>
  (step - window.first) / (window.end - window.first) * width;

interface Stripe {
  top: number;
  bottom: number;
}

// The layers of a finding as stripes of neighbouring lines; the whole map where it names none.
function stripesOf(finding: Finding, plan: Plan, window: Window, height: number): Stripe[] {
  const lines = [...new Set(finding.layers.map(({ id }) => lineOfRow(plan, id)))].filter((line) => line >= 0).sort((a, b) => a - b);
  const yOf = (line: number): number => (line - window.top) / (window.bottom - window.top) * height;
  if (lines.length === 0) return [{ top: 0, bottom: height }];
  const stripes: Stripe[] = [];
  for (const line of lines) {
    const last = stripes.at(-1), top = yOf(line), bottom = yOf(line + 1);
    if (last && top - last.bottom < 0.5) last.bottom = bottom;
    else stripes.push({ top, bottom });
  }
  return stripes.map(({ top, bottom }) => ({ top: Math.max(top, 0), bottom: Math.min(bottom, height) }))
    .filter(({ top, bottom }) => bottom > top);
}

export function Overlay(props: OverlayProps) {
  const { plan, window, width, height, marks, brushed, step, line, hovered, frame } = props;
  const x = (at: number): number => Math.min(Math.max(xOf(window, width, at), 0), width);
  const inside = (at: number): boolean => at >= window.first && at < window.end;
  const yOf = (at: number): number => (at - window.top) / (window.bottom - window.top) * height;
  return (
    <svg class="overlay" width={width} height={height} aria-hidden="true">
      {brushed && <Dim finding={brushed} stripes={stripesOf(brushed, plan, window, height)} x={x} width={width} height={height} />}
      {marks.filter(({ finding }) => inside(finding.since_step)).map(({ finding, key }) => (
        <g key={key} class={`bracket ${finding.severity}${brushed === finding ? " chosen" : ""}`}>
          {stripesOf(finding, plan, window, height).map(({ top, bottom }) => {
            const at = Math.max(x(finding.since_step) - 2.5, 1.5); // beside the step, not over it
            const path = `M${at + 5} ${top + 1}H${at}V${bottom - 1}H${at + 5}`;
            return <g key={top}><path class="halo" d={path} /><path d={path} /></g>;
          })}
        </g>
      ))}
      {hovered && <rect class="hover" x={x(hovered.first)} width={Math.max(x(hovered.last + 1) - x(hovered.first), 1)} y={0} height={height} />}
      {step !== null && inside(step) && <g class="chosen-step"><path class="halo" d={`M${x(step + 0.5)} 0V${height}`} /><path d={`M${x(step + 0.5)} 0V${height}`} /></g>}
      {line >= 0 && yOf(line + 1) > 0 && yOf(line) < height && (
        <g class="chosen-line"><rect class="halo" x={1} width={width - 2} y={yOf(line)} height={Math.max(yOf(line + 1) - yOf(line), 3)} />
          <rect x={1} width={width - 2} y={yOf(line)} height={Math.max(yOf(line + 1) - yOf(line), 3)} /></g>
      )}
      {frame && <rect class="frame" x={Math.min(frame.x0, frame.x1)} y={Math.min(frame.y0, frame.y1)}
        width={Math.abs(frame.x1 - frame.x0)} height={Math.abs(frame.y1 - frame.y0)} />}
    </svg>
  );
}

function Dim(props: { finding: Finding; stripes: Stripe[]; x: (step: number) => number; width: number; height: number }) {
  const { finding, stripes, x, width, height } = props;
  const left = x(finding.since_earliest), right = Math.max(finding.open ? width : x(finding.last_step + 1), left + 2);
  const holes = stripes.map(({ top, bottom }) => `M${left} ${top}V${bottom}H${right}V${top}Z`).join("");
  return <path class="dim" fill-rule="evenodd" d={`M0 0H${width}V${height}H0Z${holes}`} />;
}

const MARK_PIXELS = 25;

// Numbers stand above their onset, pushed aside where they would cover each other.
function markPlaces(marks: Mark[], window: Window, width: number): { mark: Mark; at: number; x: number }[] {
  const seen = marks.filter(({ finding }) => finding.since_earliest < window.end && (finding.open || finding.last_step >= window.first))
    .map((mark) => ({ mark, at: Math.min(Math.max(xOf(window, width, mark.finding.since_step + 0.5), 0), width), x: 0 }))
    .sort((a, b) => a.at - b.at);
  let free = -MARK_PIXELS;
  for (const place of seen) {
    place.x = Math.max(place.at - MARK_PIXELS / 2 + 2, free, -MARK_PIXELS / 2 + 2);
    free = place.x + MARK_PIXELS;
  }
  let end = width;
  for (const place of seen.reverse()) {
    place.x = Math.min(place.x, end - MARK_PIXELS);
    end = place.x;
  }
  return seen.reverse();
}

/** The strip above the map. */
export function Marks(props: {
  marks: Mark[]; window: Window; width: number; brushed: Finding | null; onFinding(mark: Mark): void;
}) {
  const { marks, window, width, brushed, onFinding } = props;
  const clip = (at: number): number => Math.min(Math.max(xOf(window, width, at), 0), width);
  return (
    <div class="marks">
      {markPlaces(marks, window, width).map(({ mark, x }) => {
        const { finding, key, number } = mark;
        const low = clip(finding.since_earliest), high = clip(finding.since_latest + 1);
        return (
          <span key={key}>
            {high - low > 3 && <i aria-hidden="true" class={`onset ${finding.severity}`} ref={placed({ left: low, width: high - low })} />}
            <button type="button" class={`map-mark ${finding.severity}${finding.since_latest < window.first ? " earlier" : ""}`} aria-pressed={brushed === finding} ref={placed({ left: x })}
              title={`${finding.title} (since step ${integer(finding.since_step)})`}
              aria-label={`Finding ${number} on the map: ${finding.title}, since step ${integer(finding.since_step)}`}
              onClick={() => onFinding(mark)}>{number}</button>
          </span>
        );
      })}
    </div>
  );
}
