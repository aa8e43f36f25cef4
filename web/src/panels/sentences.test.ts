// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "vitest";
import type { Finding, Findings, Gain } from "../source/types";
import { barScale, chosenRows } from "./profile";
import { findingKey, healthyTitle, openRoots, rootNumber, sentence, whenOf } from "./sentences";

function finding(part: Partial<Finding>): Finding {
  return {
    problem: "dead-units", severity: "warning", since_step: 3, since_earliest: 3, since_latest: 3, last_step: 9,
    open: true, layers: [{ id: 1, name: "a" }], title: "", cause: "", note: "", evidence: [], gains: [],
    symptoms: [], remedy: null, consequences: [], ...part,
  };
}

function document(findings: Finding[], loss = { first: 2, last: 1, best: 1, trivial: 2 }): Findings {
  return {
    schema: "backprobe.findings/1", version: "", run: "", network: { origin: null, layers: [] }, end: "finished",
    steps: { first: 0, last: 9, records: 10 }, loss, not_observed: "", not_judged: [], watching: null, damage: null,
    ignored: 0, findings,
  };
}

describe("findings", () => {
  test("the worst open root comes first, and keeps its number", () => {
    const hint = finding({ severity: "hint" }), over = finding({ severity: "error", open: false });
    const error = finding({ severity: "error" });
    const all = document([over, hint, error]);
    expect(openRoots(all)).toEqual([error, hint]);
    expect(rootNumber(all, error)).toBe(3);
  });

  test("a key is the same in a document that comes anew, and tells twins and consequences apart", () => {
    const made = (): Finding[] => [finding({}), finding({}), finding({ consequences: [finding({})] })];
    const before = made(), after = made();
    const keys = [before[0]!, before[1]!, before[2]!, before[2]!.consequences[0]!].map((f) => findingKey(before, f));
    expect(new Set(keys).size).toBe(4);
    expect(findingKey(after, after[2]!.consequences[0]!)).toBe(keys[3]);
    expect(findingKey(after, before[0]!)).toBe("");
  });

  test("an onset is a step, or a range where it is not certain", () => {
    expect(whenOf(finding({}))).toBe("since step 3");
    expect(whenOf(finding({ since_latest: 90 }))).toBe("since step 3–90");
    expect(whenOf(finding({ open: false }))).toBe("from step 3 to 9");
  });

  test("a sentence begins large, a layer's name does not", () => {
    expect(sentence("layers 1–3 do not learn", [])).toBe("Layers 1–3 do not learn");
    const named = { id: 1, name: "conv", kind: "", activation: "", norm: "", frozen: false, fan_in: 1, fan_out: 1 };
    expect(sentence("conv has dead units", [named])).toBe("conv has dead units");
    expect(sentence("fc1.bias grows", [])).toBe("fc1.bias grows");
  });

  test("healthy is said only of a loss that fell and a log that was read", () => {
    expect(healthyTitle(document([]), 1)).toBe("Healthy: it trains");
    expect(healthyTitle(document([]), 0.5)).toBe("No findings so far");
    expect(healthyTitle(document([], { first: 1, last: 2, best: 1, trivial: 2 }), 1)).toBe("No findings");
    expect(healthyTitle(document([], { first: 1, last: NaN, best: 1, trivial: 2 }), 1)).toBe("No findings");
  });
});

describe("the profile", () => {
  const gains = (n: number, error: (i: number) => number, contribution: (i: number) => number = () => 1): Gain[] =>
    Array.from({ length: n }, (_, i) => ({
      layer: i + 1, error_norm: error(i), share: null, gain: null, contribution: contribution(i),
    }));

  test("of many layers both ends and those that take most", () => {
    const rows = chosenRows(gains(100, () => 1, (i) => (i === 37 ? 50 : 1)), 12);
    expect(rows.length).toBe(12);
    expect(new Set(rows).size).toBe(12);
    expect(rows).toEqual(expect.arrayContaining([0, 37, 99]));
    expect(chosenRows(gains(3, () => 1), 12)).toEqual([0, 1, 2]);
  });

  test("a flat profile looks flat, and what is no size has no bar", () => {
    const flat = barScale(gains(2, (i) => 1 + 0.1 * i));
    expect(flat(1)!).toBeGreaterThan(0.9);
    expect(flat(0)).toBe(null);
    expect(flat(NaN)).toBe(null);
    expect(flat(Infinity)).toBe(1);
    const none = barScale(gains(2, () => NaN));
    expect(none(1) === null || Number.isFinite(none(1)!)).toBe(true);
  });
});
