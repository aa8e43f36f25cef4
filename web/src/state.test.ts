// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { FIRST_VIEW, formatView, parseView, type View } from "./state";
import { integer, number } from "./words";

describe("an address", () => {
  it("keeps a view", () => {
    const view: View = {
      run: "a/b c", other: "d&e", series: "gain", show: "mean", scheme: "cividis", span: { first: 3, last: 99 }, step: 0, layer: 7,
      finding: "/vanishing-gradient 1 0", table: true,
    };
    expect(parseView(formatView(view))).toEqual(view);
    expect(formatView(FIRST_VIEW)).toBe("");
    expect(parseView("")).toEqual(FIRST_VIEW);
  });
  it("that is bad is harmless", () => {
    for (const hash of ["#run=&with=x", "#q=<script>", "#s=9-3", "#s=1e9-2e9", "#step=-1&layer=NaN", "#show=__proto__", "#%E0%A4%A", "#&&==&"])
      expect(parseView(hash), hash).toEqual(FIRST_VIEW);
    expect(parseView(`#run=${"x".repeat(100_000)}`).run!.length).toBeLessThan(2001);
  });
});

describe("numbers", () => {
  it("are written as people write them", () => {
    expect([2.3e-12, 1e-5, 0.14, 12.5, 0, -0.5, 1e5, NaN, -Infinity].map((each) => number(each)))
      .toEqual(["2.3×10⁻¹²", "10⁻⁵", "0.14", "12.5", "0", "−0.5", "10⁵", "NaN", "−∞"]);
    expect(integer(1234567)).toBe("1\u202f234\u202f567");
  });
});
