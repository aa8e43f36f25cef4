// SPDX-License-Identifier: Apache-2.0
// How bad it is, as a shape, a colour and a word; findings' numbers.
import type { Severity } from "../source/types";

export type Mark = Severity | "good" | "unknown";

const SHAPES: Record<Mark, { path: string; sign: string }> = {
  error: { path: "M7 1h6l6 6v6l-6 6H7l-6-6V7z", sign: "M6.8 6.8l6.4 6.4M13.2 6.8l-6.4 6.4" },
  warning: { path: "M10 1.5l9 16.5H1z", sign: "M10 7.5v5M10 15v.6" },
  hint: { path: "M10 1a9 9 0 1 1 0 18a9 9 0 1 1 0-18z", sign: "M10 9v5.5M10 5.6v.6" },
  good: { path: "M10 1a9 9 0 1 1 0 18a9 9 0 1 1 0-18z", sign: "M5.8 10.4l3 3l5.4-6.4" },
  unknown: { path: "M10 1a9 9 0 1 1 0 18a9 9 0 1 1 0-18z", sign: "M6 10h8" },
};

/** The shape alone: a word stands beside it. */
export function SeverityMark({ mark }: { mark: Mark }) {
  const shape = SHAPES[mark];
  return (
    <svg class={`mark mark-${mark}`} viewBox="0 0 20 20" aria-hidden="true" focusable="false">
      <path class="mark-body" d={shape.path} />
      <path class="mark-sign" d={shape.sign} />
    </svg>
  );
}

export function RootNumber({ n }: { n: number }) {
  return <span class="root-number">{n}</span>;
}

/** A range of layers stays on one line. */
export function Title({ text }: { text: string }) {
  return <>{text.split(/(\d+–\d+)/).map((part, i) => (i % 2 === 1 ? <span key={i} class="unbroken">{part}</span> : part))}</>;
}
