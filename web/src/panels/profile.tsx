// SPDX-License-Identifier: Apache-2.0
// The profile over depth: the error signal of each layer as a bar on a logarithmic scale, and its number.
import { useState } from "preact/hooks";
import type { Finding, Gain, Layer } from "../source/types";
import { asNumber, measured, plural } from "../words";
import { layerName } from "./sentences";

const ROWS = 12; // at first
const MOST_ROWS = 2000;
const STANDS_OUT = 2; // times the mean contribution
const LEAST_DECADES = 3; // so that a flat profile looks flat

/** As splice takes it. */
function middleOfLargestGap(rows: number[]): [number, number, number] {
  let at = 1;
  for (let i = 2; i < rows.length; i++)
    if (rows[i]! - rows[i - 1]! > rows[at]! - rows[at - 1]!) at = i;
  return [at, 0, rows[at - 1]! + Math.floor((rows[at]! - rows[at - 1]!) / 2)];
}

/** Of many layers both ends, those that take most of the product, and some between. */
export function chosenRows(gains: Gain[], most: number): number[] {
  if (gains.length <= most) return gains.map((_, i) => i);
  const weight = gains.map((g) => Math.max(0, asNumber(g.contribution) || 0));
  const mean = weight.reduce((a, b) => a + b, 0) / gains.length;
  const outstanding = weight.map((w, i) => ({ w, i })).filter(({ w }) => w > STANDS_OUT * mean)
    .sort((a, b) => b.w - a.w).slice(0, Math.floor(most / 2)).map(({ i }) => i);
  const rows = [...new Set([0, gains.length - 1, ...outstanding])].sort((a, b) => a - b);
  while (rows.length < most) rows.splice(...middleOfLargestGap(rows));
  return rows;
}

/** Where on 0 … 1 a size lies; null: no bar. */
export function barScale(gains: Gain[]): (size: number | null) => number | null {
  const logs = gains.map((g) => asNumber(g.error_norm))
    .filter((x): x is number => x !== null && x > 0 && Number.isFinite(x)).map(Math.log10);
  const high = logs.reduce((a, b) => Math.max(a, b), -Infinity);
  const low = Math.min(high - LEAST_DECADES, logs.reduce((a, b) => Math.min(a, b), Infinity));
  return (size) => {
    if (size === null || Number.isNaN(size) || size <= 0 || high === -Infinity) return null;
    if (!Number.isFinite(size)) return 1;
    return Math.max(0.01, (Math.log10(size) - low) / (high - low));
  };
}

function Bar({ share, ink }: { share: number | null; ink: string }) {
  return (
    <svg class={`bar ${ink}`} viewBox="0 0 100 10" preserveAspectRatio="none"
      aria-hidden="true" focusable="false">
      {share !== null && <rect x="0" y="1" width={100 * share} height="8" />}
    </svg>
  );
}

function Row({ gain, share, ink, layers }: {
  gain: Gain; share: number | null; ink: string; layers: Layer[];
}) {
  return (
    <tr>
      <th scope="row"><span class="layer-id">{gain.layer}</span> <bdi>{layerName(layers, gain.layer)}</bdi></th>
      <td class="bar-cell"><Bar share={share} ink={ink} /></td>
      <td class="figure">{asNumber(gain.error_norm) === null ? "–" : measured(gain.error_norm, 2)}</td>
      <td class="figure">{asNumber(gain.gain) === null ? "–" : measured(gain.gain, 2)}</td>
    </tr>
  );
}

export function Profile({ finding, layers }: { finding: Finding; layers: Layer[] }) {
  const [all, setAll] = useState(false);
  const gains = finding.gains.slice(0, MOST_ROWS);
  if (gains.length === 0) return null;
  const concerned = new Set(finding.layers.map((l) => l.id));
  const scale = barScale(gains);
  const rows = all ? gains.map((_, i) => i) : chosenRows(gains, ROWS);
  return (
    <div class="profile">
      <table>
        <thead>
          <tr>
            <th scope="col">layer</th>
            <td class="bar-cell">log scale</td>
            <th scope="col" class="figure">error signal</th>
            <th scope="col" class="figure">gain</th>
          </tr>
        </thead>
        <tbody>
          {rows.map((i) => {
            const gain = gains[i];
            return gain && <Row key={gain.layer} gain={gain} share={scale(asNumber(gain.error_norm))}
              ink={concerned.has(gain.layer) ? `ink-${finding.severity}` : ""} layers={layers} />;
          })}
        </tbody>
      </table>
      {gains.length > ROWS && (
        <button type="button" class="quiet" aria-expanded={all} onClick={() => setAll(!all)}>
          {all ? "Fewer layers" : `All ${plural(gains.length, "layer")}`}
        </button>
      )}
    </div>
  );
}
