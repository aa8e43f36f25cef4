// SPDX-License-Identifier: Apache-2.0
// The picture of the lecture: the product of the layers' gains from the loss back to the input on a
// logarithmic scale, between 0.1ⁿ and 2ⁿ.
import { useState } from "preact/hooks";
import type { Run } from "../source/types";
import { integer, number, power } from "../words";
import { type ChainPoint, type Domain, chainOf, chainWords, domainOf, pointWords } from "./chain_model";
import { onKeys, useWidth } from "./layout";

const HEIGHT = 300;
const MARGIN = { left: 52, right: 44, top: 16, bottom: 36 };
const MOST_DOTS = 80; // more run into each other
const MOST_POINTS = 400; // that carry their value

interface Frame extends Domain {
  width: number;
  count: number;
  x: (i: number) => number;
  y: (log10: number) => number;
}

function frameOf(points: ChainPoint[], width: number): Frame {
  const domain = domainOf(points);
  const inner = width - MARGIN.left - MARGIN.right;
  const tall = HEIGHT - MARGIN.top - MARGIN.bottom;
  return {
    ...domain, width, count: points.length,
    x: (i) => MARGIN.left + (points.length > 1 ? (i * inner) / (points.length - 1) : inner / 2),
    y: (log10) => MARGIN.top + ((domain.high - log10) * tall) / (domain.high - domain.low),
  };
}

/** Powers of ten, so many as there is room for. */
function Levels({ frame }: { frame: Frame }) {
  const every = [1, 2, 3, 5, 10, 20, 50, 100].find((n) => (frame.high - frame.low) / n <= 8) ?? 200;
  const levels: number[] = [];
  for (let k = Math.ceil(frame.low / every) * every; k <= frame.high; k += every) levels.push(k);
  return (
    <g>
      {levels.map((k) => (
        <g key={k}>
          <line class={k === 0 ? "chain-one" : "chain-level"} x1={MARGIN.left}
            x2={frame.width - MARGIN.right} y1={frame.y(k)} y2={frame.y(k)} />
          <text class="tick" x={MARGIN.left - 8} y={frame.y(k)} dy="0.35em" text-anchor="end">
            {k === 0 ? "1" : power(k)}
          </text>
        </g>
      ))}
    </g>
  );
}

/** baseⁿ, from the loss at the right to where it leaves the picture. */
function Guide({ base, label, frame }: { base: number; label: string; frame: Frame }) {
  const slope = Math.log10(base);
  const limit = slope < 0 ? frame.low : frame.high;
  const depth = Math.min(frame.count - 1, limit / slope);
  if (depth <= 0) return null;
  const x = (n: number): number => frame.x(frame.count - 1 - n);
  const y = (n: number): number => frame.y(n * slope);
  const leaves = depth < frame.count - 1; // the picture, below or above: its label stands there
  const labelX = leaves ? x(depth) - 7 : x(0.55 * depth) + 7;
  const labelY = leaves ? y(depth) + (slope < 0 ? -4 : 12) : y(0.55 * depth) + (slope < 0 ? 14 : -6);
  return (
    <g class="chain-guide">
      <line x1={x(0)} y1={y(0)} x2={x(depth)} y2={y(depth)} />
      <text x={labelX} y={labelY} text-anchor={leaves ? "end" : "start"}>{label}</text>
    </g>
  );
}

const FORMATS = [
  { size: 2 ** -24, label: "smallest float16" },
  { size: 2 ** -149, label: "smallest float32" },
  { size: 65504, label: "largest float16" },
  { size: 2 ** 128, label: "largest float32" },
];

/** Whether the product is farther from a level at the right than at the left: there is room for words. */
function roomAtRight(points: ChainPoint[], level: number): boolean {
  const distance = (share: number): number => {
    const product = points[Math.round(share * (points.length - 1))]?.product ?? 1;
    return Math.abs(Math.log10(product) - level);
  };
  return distance(0.8) >= distance(0.2);
}

/** Sizes that a format cannot hold, as products: the axis tells shares of the error at the loss. */
function Formats({ points, frame }: { points: ChainPoint[]; frame: Frame }) {
  const atLoss = points[points.length - 1]?.error ?? NaN;
  return (
    <g class="chain-format">
      {FORMATS.map(({ size, label }) => {
        const level = Math.log10(size / atLoss);
        if (!(level > frame.low && level < frame.high)) return null;
        const y = frame.y(level), right = roomAtRight(points, level);
        const from = MARGIN.left, to = frame.width - MARGIN.right;
        return (
          <g key={label}>
            <line x1={from} x2={to} y1={y} y2={y} />
            <text x={right ? to - 4 : from + 4} y={y + (size > 1 ? -5 : 14)} text-anchor={right ? "end" : "start"}>{label}</text>
          </g>
        );
      })}
    </g>
  );
}

function placeOf(point: ChainPoint, i: number, frame: Frame): { x: number; y: number } | null {
  const p = point.product;
  if (p === null) return null;
  const y = Number.isFinite(p) && p > 0 ? frame.y(Math.log10(p)) : p === 0 ? frame.y(frame.low) : MARGIN.top;
  return { x: frame.x(i), y };
}

/** The line breaks where there is no number. */
function linePath(points: ChainPoint[], frame: Frame): string {
  let pen = "M";
  return points.map((point, i) => {
    const place = placeOf(point, i, frame);
    if (!place || !(point.product! > 0) || !Number.isFinite(point.product!)) {
      if (point.product !== null) pen = "M"; // beside the path a layer may be missing
      return "";
    }
    const part = `${pen}${place.x.toFixed(1)} ${place.y.toFixed(1)}`;
    pen = "L";
    return part;
  }).join("");
}

function Dot({ point, place, shown }: { point: ChainPoint; place: { x: number; y: number }; shown: boolean }) {
  const finite = Number.isFinite(point.product!);
  const data = { "data-layer": point.layer, "data-value": String(point.product) };
  if (!finite) // where no number is: a cross at the upper edge
    return <path {...data} class="chain-bad" d={`M${place.x - 4} ${place.y - 4}l8 8m0-8l-8 8`} />;
  if (point.product === 0)
    return <rect {...data} class="chain-zero" x={place.x - 3.5} y={place.y - 3.5} width="7" height="7" />;
  return <circle {...data} class={shown ? "chain-dot" : "chain-no-dot"} cx={place.x} cy={place.y} r="3" />;
}

function Dots({ points, frame }: { points: ChainPoint[]; frame: Frame }) {
  if (points.length > MOST_POINTS) return null;
  return (
    <g>
      {points.map((point, i) => {
        const place = placeOf(point, i, frame);
        return place && <Dot key={point.layer} point={point} place={place} shown={points.length <= MOST_DOTS} />;
      })}
    </g>
  );
}

function Layers({ points, frame }: { points: ChainPoint[]; frame: Frame }) {
  const room = Math.max(2, Math.floor((frame.width - MARGIN.left - MARGIN.right) / 34));
  const every = Math.ceil(points.length / room);
  const y = HEIGHT - MARGIN.bottom + 16;
  return (
    <g>
      {points.map((point, i) => (points.length - 1 - i) % every === 0 && (
        <text key={point.layer} class="tick" x={frame.x(i)} y={y} text-anchor="middle">
          {point.layer === 0 ? "input" : point.layer}
        </text>
      ))}
      <text class="axis-name" x={MARGIN.left} y={HEIGHT - 4}>← input</text>
      <text class="axis-name" x={(frame.width + MARGIN.left - MARGIN.right) / 2} y={HEIGHT - 4} text-anchor="middle">layer</text>
      <text class="axis-name" x={frame.width - MARGIN.right} y={HEIGHT - 4} text-anchor="end">loss →</text>
    </g>
  );
}

const WORD = 70; // px, of a number

function Chosen({ points, i, frame }: { points: ChainPoint[]; i: number; frame: Frame }) {
  const point = points[i]!;
  const place = placeOf(point, i, frame);
  const x = frame.x(i);
  const rises = (points[i + 1]?.product ?? 0) > (point.product ?? 0); // towards the loss: the line is at the right
  const left = x > frame.width - MARGIN.right - WORD || (rises && x > MARGIN.left + WORD);
  const below = rises && !left;
  return (
    <g class="chain-chosen">
      <line x1={x} x2={x} y1={MARGIN.top} y2={HEIGHT - MARGIN.bottom} />
      {place && <circle cx={place.x} cy={place.y} r="5" />}
      {place && (
        <text x={x + (left ? -9 : 9)} y={below ? place.y + 18 : Math.max(place.y - 9, MARGIN.top + 10)}
          text-anchor={left ? "end" : "start"}>{number(point.product ?? NaN, 2)}</text>
      )}
    </g>
  );
}

function Picture({ points, frame, chosen }: { points: ChainPoint[]; frame: Frame; chosen: number }) {
  return (
    <svg class="chain-picture" width={frame.width} height={HEIGHT} viewBox={`0 0 ${frame.width} ${HEIGHT}`}>
      <Levels frame={frame} />
      <Guide base={0.1} label="0.1ⁿ" frame={frame} />
      <Guide base={2} label="2ⁿ" frame={frame} />
      <Formats points={points} frame={frame} />
      <path class="chain-line" d={linePath(points, frame)} />
      <Dots points={points} frame={frame} />
      {points[chosen] && <Chosen points={points} i={chosen} frame={frame} />}
      <Layers points={points} frame={frame} />
    </svg>
  );
}

export interface ChainProps {
  run: Run;
  norms: ReadonlyMap<number, number>; // error_norm at the step; a layer that was not measured is not in it
  step: number;
  layer: number | null;
  onLayer: (layer: number) => void;
}

export function Chain({ run, norms, step, layer, onLayer }: ChainProps) {
  const [box, width] = useWidth(560);
  const [hovered, setHovered] = useState<number | null>(null);
  const layers = run.findings.network.layers;
  const points = chainOf(run.path, norms);
  const words = chainWords(points, layers);
  const frame = frameOf(points, width);
  const chosen = points.findIndex((p) => p.layer === layer);
  const current = hovered !== null && points[hovered] ? hovered : chosen;
  const told = points[current] ?? points[points.length - 1];
  const nearest = (event: MouseEvent): number => {
    const left = (event.currentTarget as Element).getBoundingClientRect().left;
    const share = (event.clientX - left - MARGIN.left) / (width - MARGIN.left - MARGIN.right);
    return Math.min(Math.max(Math.round(share * (points.length - 1)), 0), points.length - 1);
  };
  const choose = (i: number): void => {
    const point = points[i];
    if (point) onLayer(point.layer);
  };
  const place = chosen < 0 ? points.length - 1 : chosen;
  return (
    <div class="chain">
      <p class="chain-words"><strong>{words.strong}</strong>{`: ${words.rest}.`} <small>step {integer(step)}</small></p>
      <div ref={box}>
        {points.length > 0 && (
          <div class="chain-plot" role="slider" tabIndex={0} aria-label="Layer, from the input to the loss"
            aria-valuemin={0} aria-valuemax={points.length - 1} aria-valuenow={place}
            aria-valuetext={points[place] && pointWords(points[place], layers)}
            onKeyDown={onKeys(place, points.length, choose)} onClick={(e) => choose(nearest(e))}
            onMouseMove={(e) => setHovered(nearest(e))} onMouseLeave={() => setHovered(null)}>
            <Picture points={points} frame={frame} chosen={current} />
          </div>
        )}
      </div>
      {told && <p class="read-out">{pointWords(told, layers)}</p>}
    </div>
  );
}
