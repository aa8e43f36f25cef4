// SPDX-License-Identifier: Apache-2.0
// What the colours and patterns mean.
import { useEffect, useRef } from "preact/hooks";
import { CODE_ABSENT, CODE_INF, CODE_NAN, CODE_ZERO } from "../source/tile";
import { codeAt, ticksOf, type Scale } from "./scale";
import { isPattern, type Patterns } from "./colours";
import type { Quantity } from "./quantities";

const BAR = 256;

export function Legend(props: { quantity: Quantity; scale: Scale; table: Uint32Array; patterns: Patterns }) {
  const { quantity, scale, table, patterns } = props;
  const bar = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    const context = bar.current?.getContext("2d");
    if (!context) return;
    const image = context.createImageData(BAR, 1), words = new Uint32Array(image.data.buffer);
    for (let x = 0; x < BAR; x++) words[x] = table[codeAt(scale, quantity, x / (BAR - 1))]!;
    context.putImageData(image, 0, 0);
  }, [table, scale, quantity]);
  const swatches: [number, string][] = [[CODE_NAN, "NaN"], [CODE_INF, "infinite"], [CODE_ZERO, "exactly 0"], [CODE_ABSENT, "not measured"]];
  return (
    <div class="legend">
      <div class="legend-scale">
        <canvas ref={bar} width={BAR} height={1} aria-hidden="true" />
        <div class="legend-ticks">
          {ticksOf(scale, quantity, 7).map(({ place, label }) => (
            <span key={label} ref={(element) => element?.style.setProperty("left", `${place * 100}%`)}>{label}</span>
          ))}
        </div>
      </div>
      <ul class="legend-patterns">
        {swatches.filter(([code]) => isPattern(quantity, code)).map(([code, label]) => (
          <li key={label}><Swatch patterns={patterns} code={code} />{label}</li>
        ))}
      </ul>
    </div>
  );
}

function Swatch({ patterns, code }: { patterns: Patterns; code: number }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    const context = canvas.current?.getContext("2d");
    const pattern = patterns.of.get(code);
    if (!context || !pattern) return;
    const image = context.createImageData(patterns.size, patterns.size);
    new Uint32Array(image.data.buffer).set(pattern);
    context.putImageData(image, 0, 0);
  }, [patterns, code]);
  return <canvas ref={canvas} class="swatch" width={patterns.size} height={patterns.size} aria-hidden="true" />;
}
