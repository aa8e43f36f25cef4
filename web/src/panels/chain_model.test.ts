// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "vitest";
import { chainOf, chainWords, domainOf, meanGain, pointWords } from "./chain_model";

const layer = (id: number, name: string) => ({
  id, name, kind: "dense", activation: "tanh", norm: "none", frozen: false, fan_in: 4, fan_out: 4,
});
const layers = [layer(1, "first"), layer(2, "second"), layer(3, "third")];
const norms = (...values: number[]) => new Map(values.map((value, i) => [i + 1, value]));

describe("the chain", () => {
  test("the product grows from the loss to the input, and the input that was not measured is left out", () => {
    const points = chainOf([0, 1, 2, 3], norms(0.01, 0.1, 1));
    expect(points.map((p) => [p.layer, p.depth, p.product])).toEqual([[1, 2, 0.01], [2, 1, 0.1], [3, 0, 1]]);
    expect(points[0]!.gain).toBeCloseTo(0.1);
    expect(meanGain(points)).toBeCloseTo(0.1);
  });

  test("layers beside the path do not take part", () => {
    expect(chainOf([1, 3], norms(1, 7, 2)).map((p) => p.product)).toEqual([0.5, 1]);
  });

  test("a layer of the path that was not measured leaves a gap", () => {
    const points = chainOf([1, 2, 3], new Map([[1, 1], [3, 4]]));
    expect(points[1]!.product).toBe(null);
    expect(points[0]!.product).toBe(0.25);
    expect(pointWords(points[1]!, layers)).toContain("not measured");
  });

  test("nothing measured, nothing drawn", () => {
    expect(chainOf([0, 1, 2], new Map())).toEqual([]);
    expect(chainWords([], layers).strong).toBe("No error signals here");
  });
});

describe("in words", () => {
  const words = (...values: number[]): string => {
    const { strong, rest } = chainWords(chainOf([1, 2, 3], norms(...values)), layers);
    return `${strong}: ${rest}`;
  };

  test("vanishing, exploding, level", () => {
    expect(words(1e-8, 1e-4, 1)).toBe("10⁻⁴ a layer: of the error at the loss 10⁻⁸ reaches layer 1 (first)");
    expect(words(9, 3, 1)).toBe("3 a layer: the error at the loss reaches layer 1 (first) 9 times as large");
  });

  test("zeros, NaN and infinity are told, never computed with", () => {
    expect(words(0, 0, 1)).toBe("Nothing arrives: the error signal is exactly 0 at layers 1–2");
    expect(words(0, 0, 0)).toContain("sends back an error signal of 0");
    expect(words(NaN, 1, 1)).toContain("NaN or infinite at layers 1");
    expect(words(1, Infinity, NaN)).toContain("layers 2–3");
  });
});

describe("the scale", () => {
  test("a level product lies in the middle of five powers of ten", () => {
    expect(domainOf(chainOf([1, 2, 3], norms(1, 1, 1)))).toEqual({ low: -3, high: 2 });
  });

  test("it reaches as far as the product, whatever that is", () => {
    const { low, high } = domainOf(chainOf([1, 2], norms(1e-40, 1)));
    expect(low).toBeLessThanOrEqual(-40);
    expect(high).toBeGreaterThanOrEqual(0);
    for (const bad of [NaN, Infinity, 0])
      for (const limit of Object.values(domainOf(chainOf([1, 2], norms(bad, 1))))) expect(Number.isFinite(limit)).toBe(true);
  });
});
