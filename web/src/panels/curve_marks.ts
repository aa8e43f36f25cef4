// SPDX-License-Identifier: Apache-2.0
// What is drawn over the lines: the steps of findings, the chosen step, what is not finite, a level.
import type uPlot from "uplot";
import type { Severity } from "../source/types";
import { HAS_INF, HAS_NAN } from "../source/tile";
import type { ThemeColours } from "../theme";
import type { Bad } from "./curve_data";

export interface CurveMark {
  step: number;
  label: string; // the root's number
  severity: Severity;
}

interface Pen {
  context: CanvasRenderingContext2D;
  ratio: number; // of pixels
  left: number;
  top: number;
  width: number;
  height: number;
  x: (step: number) => number;
}

function penOf(plot: uPlot): Pen {
  const { left, top, width, height } = plot.bbox;
  return {
    context: plot.ctx, ratio: devicePixelRatio || 1, left, top, width, height,
    x: (step) => plot.valToPos(step, "x", true),
  };
}

function inside(pen: Pen, x: number): boolean {
  return x >= pen.left - 1 && x <= pen.left + pen.width + 1;
}

function verticalLine(pen: Pen, x: number, colour: string, dash: number[]): void {
  const { context, ratio } = pen;
  context.strokeStyle = colour;
  context.lineWidth = ratio;
  context.setLineDash(dash.map((d) => d * ratio));
  context.beginPath();
  context.moveTo(x, pen.top);
  context.lineTo(x, pen.top + pen.height);
  context.stroke();
  context.setLineDash([]);
}

/** Numbers in circles; where several begin together they stand side by side. */
export function drawMarks(plot: uPlot, marks: CurveMark[], theme: ThemeColours): void {
  const pen = penOf(plot);
  const { context, ratio } = pen;
  const radius = 8 * ratio;
  let free = -Infinity;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.font = `600 ${10 * ratio}px ${theme.sans}`;
  for (const mark of [...marks].sort((a, b) => a.step - b.step)) {
    const x = pen.x(mark.step);
    if (!inside(pen, x)) continue;
    verticalLine(pen, x, theme[mark.severity], [3, 3]);
    const centre = Math.min(Math.max(x, free + radius, pen.left + radius), pen.left + pen.width - radius);
    context.beginPath();
    context.arc(centre, pen.top + radius, radius, 0, 2 * Math.PI);
    context.fillStyle = theme[mark.severity];
    context.fill();
    context.fillStyle = theme.paper;
    context.fillText(mark.label, centre, pen.top + radius + 0.5 * ratio);
    free = centre + radius + 2 * ratio;
  }
}

export function drawStep(plot: uPlot, step: number, theme: ThemeColours): void {
  const pen = penOf(plot);
  const x = pen.x(step);
  if (!inside(pen, x)) return;
  verticalLine(pen, x, theme.ink, []);
  const size = 5 * pen.ratio, foot = pen.top + pen.height;
  pen.context.fillStyle = theme.ink;
  pen.context.beginPath();
  pen.context.moveTo(x, foot - size);
  pen.context.lineTo(x - size, foot);
  pen.context.lineTo(x + size, foot);
  pen.context.fill();
}

/** At the upper edge, hatched one way for NaN, both ways for infinite values, with the word if it fits. */
export function drawBad(plot: uPlot, bad: Bad[], theme: ThemeColours): void {
  const pen = penOf(plot);
  for (const stretch of bad) {
    const from = Math.max(pen.x(stretch.first - 0.5), pen.left);
    const to = Math.min(pen.x(stretch.last + 0.5), pen.left + pen.width);
    if (to < pen.left || from > pen.left + pen.width) continue;
    drawStretch(pen, from, Math.max(to, from + 5 * pen.ratio), stretch.flags, theme);
  }
}

function drawStretch(pen: Pen, from: number, to: number, flags: number, theme: ThemeColours): void {
  const { context, ratio, top } = pen;
  const tall = 14 * ratio, gap = 5 * ratio;
  context.save();
  context.beginPath();
  context.rect(from, top, to - from, tall);
  context.fillStyle = theme.paper;
  context.fill();
  context.clip();
  context.strokeStyle = theme.error;
  context.lineWidth = 1.2 * ratio;
  context.beginPath();
  for (let x = from - tall; x < to + tall; x += gap) {
    context.moveTo(x, top + tall);
    context.lineTo(x + tall, top);
    if (flags & HAS_INF) {
      context.moveTo(x, top);
      context.lineTo(x + tall, top + tall);
    }
  }
  context.stroke();
  context.strokeRect(from, top, to - from, tall);
  context.restore();
  drawWord(pen, from, to, tall, flags, theme);
}

function drawWord(pen: Pen, from: number, to: number, tall: number, flags: number, theme: ThemeColours): void {
  const { context, ratio, top } = pen;
  const word = [flags & HAS_NAN ? "NaN" : "", flags & HAS_INF ? "Inf" : ""].filter(Boolean).join(", ");
  context.font = `600 ${11 * ratio}px ${theme.sans}`;
  const room = context.measureText(word).width + 8 * ratio;
  if (room > to - from) return;
  const middle = (from + to) / 2;
  context.fillStyle = theme.paper;
  context.fillRect(middle - room / 2, top + ratio, room, tall - 2 * ratio);
  context.fillStyle = theme.error;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillText(word, middle, top + tall / 2);
}

export interface Level {
  value: number;
  label: string;
}

export function drawLevel(plot: uPlot, level: Level, theme: ThemeColours): void {
  const { context, ratio, left, top, width, height } = penOf(plot);
  const y = plot.valToPos(level.value, "y", true);
  if (!(y >= top && y <= top + height)) return;
  context.strokeStyle = theme.muted;
  context.lineWidth = ratio;
  context.setLineDash([1 * ratio, 3 * ratio]);
  context.beginPath();
  context.moveTo(left, y);
  context.lineTo(left + width, y);
  context.stroke();
  context.setLineDash([]);
  context.font = `${11 * ratio}px ${theme.sans}`;
  context.textAlign = "right";
  const below = y < top + 16 * ratio;
  context.textBaseline = below ? "top" : "bottom";
  const x = left + width - 4 * ratio, tall = 14 * ratio;
  const room = context.measureText(level.label).width + 6 * ratio;
  context.fillStyle = theme.paper; // it is to be read over lines
  context.fillRect(x - room + 3 * ratio, below ? y + 2 * ratio : y - tall - 1 * ratio, room, tall);
  context.fillStyle = theme.ink;
  context.fillText(level.label, x, y + (below ? 3 : -2) * ratio);
}
