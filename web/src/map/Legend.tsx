// SPDX-License-Identifier: Apache-2.0
// What the colours and patterns mean.
import { useEffect, useRef } from "preact/hooks";
import { CODE_ABSENT, CODE_INF, CODE_NAN, CODE_ZERO } from "../source/tile";
import { codeAt, ticksOf, type Scale } from "./scale";
import { CODE_HELD, isPattern, type Patterns, type Tables } from "./colours";
import { middleOf, rankOf } from "./codes";
import type { Quantity } from "./quantities";

const BAR = 256;

export function Legend(props: { quantity: Quantity; scale: Scale; tables: Tables; patterns: Patterns }) {
  const { quantity, scale, tables, patterns } = props;
  const bar = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    const context = bar.current?.getContext("2d");
    if (!context) return;
    const image = context.createImageData(BAR, 1), words = new Uint32Array(image.data.buffer);
    for (let x = 0; x < BAR; x++) words[x] = tables.codes[codeAt(scale, quantity, x / (BAR - 1))]!;
    context.putImageData(image, 0, 0);
  }, [tables, scale, quantity]);
  const swatches: [number, string][] = [[CODE_NAN, "NaN"], [CODE_INF, "infinite"], [CODE_ZERO, "exactly 0"], [CODE_ABSENT, "not measured"],
    [CODE_HELD, "faded: between two measured steps"]];
  return (
    <div class="map-legend">
      <div class="map-legend-scale">
        <canvas ref={bar} width={BAR} height={1} aria-hidden="true" />
        <div class="map-legend-ticks">
          {ticksOf(scale, quantity, 7).map(({ place, label }) => (
            <span key={label} class={place < 0.04 ? "start" : place > 0.96 ? "end" : ""} ref={(element) => element?.style.setProperty("left", `${place * 100}%`)}>{label}</span>
          ))}
        </div>
      </div>
      <ul class="map-legend-patterns">
        {quantity.kind === "alarm" && <li><Swatch patterns={patterns} code={CODE_HELD} under={tables.codes[CODE_ZERO]!} plain />none</li>}
        {swatches.filter(([code]) => isPattern(quantity, code)).map(([code, label]) => (
          <li key={label}><Swatch patterns={patterns} code={code} under={tables.faded[rankOf(codeAt(scale, quantity, 0.6), middleOf(quantity))]!} />{label}</li>
        ))}
      </ul>
    </div>
  );
}

function Swatch({ patterns, code, under, plain }: { patterns: Patterns; code: number; under: number; plain?: boolean }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    const context = canvas.current?.getContext("2d");
    const pattern = patterns.of.get(code);
    if (!context || !pattern) return;
    const image = context.createImageData(patterns.size, patterns.size);
    new Uint32Array(image.data.buffer).set(pattern.map((word) => (plain ? under : word || under)));
    context.putImageData(image, 0, 0);
  }, [patterns, code, under, plain]);
  return <canvas ref={canvas} class="swatch" width={patterns.size} height={patterns.size} aria-hidden="true" />;
}
