// SPDX-License-Identifier: Apache-2.0
// The chain rule at a step: what the product of the layers' gains, taken from the loss on, leaves of the
// error signal, and that in words.
import type { Layer } from "../source/types";
import { layerRange, number } from "../words";
import { layerName } from "./sentences";

export interface ChainPoint {
  layer: number; // 0: the input
  depth: number; // factors between it and the loss
  error: number | null; // the error signal's norm; null: not measured
  product: number | null; // error / error at the loss
  gain: number | null; // the last factor: from the layer behind it to this one
}

/** From the input to the loss. Layers that were not measured before the first that was are left out. */
export function chainOf(path: number[], norms: ReadonlyMap<number, number>): ChainPoint[] {
  const from = path.findIndex((layer) => norms.has(layer));
  if (from < 0) return [];
  const layers = path.slice(from);
  const atLoss = norms.get([...layers].reverse().find((layer) => norms.has(layer)) ?? 0) ?? NaN;
  return layers.map((layer, i) => {
    const error = norms.get(layer) ?? null;
    const behind = norms.get(layers[i + 1] ?? -1);
    return {
      layer, error,
      depth: layers.length - 1 - i,
      product: error === null ? null : error / atLoss,
      gain: error === null || behind === undefined ? null : error / behind,
    };
  });
}

const usable = (x: number | null): x is number => x !== null && Number.isFinite(x) && x > 0;

/** The gain that each factor would have if all were alike; null where the ends are no numbers. */
export function meanGain(points: ChainPoint[]): number | null {
  const first = points[0];
  if (!first || first.depth === 0 || !usable(first.product)) return null;
  return first.product ** (1 / first.depth);
}

export interface Domain {
  low: number; // powers of ten
  high: number;
}

const LEAST = 3; // powers of ten below 1, so that a product that keeps its size looks flat
const LEAST_ABOVE = 2;

export function domainOf(points: ChainPoint[]): Domain {
  const logs = points.map((p) => p.product).filter(usable).map(Math.log10);
  const low = logs.reduce((a, b) => Math.min(a, b), 0);
  const high = logs.reduce((a, b) => Math.max(a, b), 0);
  const depth = points.length - 1;
  return {
    low: Math.floor(Math.min(-LEAST, 1.05 * low, Math.max(-depth, 1.25 * low))),
    high: Math.ceil(Math.max(LEAST_ABOVE, 1.1 * high)),
  };
}

const at = (layers: Layer[], layer: number): string =>
  layer === 0 ? "the input" : `layer ${layer} (${layerName(layers, layer)})`;

function reaching(product: number, where: string): string {
  if (product > 1.05) return `the error at the loss reaches ${where} ${number(product, 2)} times as large`;
  return `of the error at the loss ${number(product, 2)} reaches ${where}`;
}

/** What stands out, and the rest of the sentence. */
export function chainWords(points: ChainPoint[], layers: Layer[]): { strong: string; rest: string } {
  const first = points[0], last = points[points.length - 1];
  if (!first || !last) return { strong: "No error signals here", rest: "this step has only its loss" };
  const bad = points.filter((p) => p.error !== null && !Number.isFinite(p.error));
  if (bad.length > 0)
    return { strong: "Not finite", rest: `the error signal is NaN or infinite at layers ${layerRange(bad.map((p) => p.layer))}` };
  if (last.error === 0) return { strong: "Nothing", rest: "the loss sends back an error signal of 0" };
  const zero = points.filter((p) => p.error === 0);
  if (zero.length > 0)
    return { strong: "Nothing arrives", rest: `the error signal is exactly 0 at layers ${layerRange(zero.map((p) => p.layer))}` };
  const gain = meanGain(points);
  if (gain === null || !usable(first.product))
    return { strong: "One layer", rest: "there is no product of gains" };
  return { strong: `${number(gain, 2)} a layer`, rest: reaching(first.product, at(layers, first.layer)) };
}

export function pointWords(point: ChainPoint, layers: Layer[]): string {
  const where = point.layer === 0 ? "input" : `layer ${point.layer}, ${layerName(layers, point.layer)}`;
  if (point.error === null) return `${where}: not measured`;
  const gain = point.gain === null ? "" : `, gain ${number(point.gain, 2)}`;
  const product = point.product === null ? "" : `product ${number(point.product, 2)}`;
  return `${where}: ${product}${gain}, error signal ${number(point.error, 2)}`;
}
