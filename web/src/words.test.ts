// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "vitest";
import { asNumber, bytes, duration, integer, layerRange, measured, number, percent, plural, power } from "./words";

const THIN = "\u202f";

test("numbers as people write them", () => {
  expect([2.3e-12, 0.14, 12.5, 1234.5, 98765.4, 1.5e7, -0.5, -2e-9].map((x) => number(x))).toEqual([
    "2.3×10⁻¹²", "0.14", "12.5", `1${THIN}235`, `98${THIN}765`, "1.5×10⁷", "−0.5", "−2×10⁻⁹"]);
  expect([0, -0, NaN, Infinity, -Infinity].map((x) => number(x))).toEqual(["0", "0", "NaN", "∞", "−∞"]);
  expect(number(1e-30)).toBe(power(-30));
  expect(number(2.30248, 4)).toBe("2.302");
  expect(number(5e-324)).toMatch(/×10⁻³²⁴$/);
});

test("numbers of a document", () => {
  expect([null, "NaN", "Infinity", "-Infinity", 2].map((x) => measured(x as number))).toEqual([
    "not measured", "NaN", "∞", "−∞", "2"]);
  expect(asNumber(null)).toBe(null);
  expect(asNumber("-Infinity")).toBe(-Infinity);
});

test("whole numbers in groups of three", () => {
  expect([7, 1000, 1234567].map(integer)).toEqual(["7", `1${THIN}000`, `1${THIN}234${THIN}567`]);
  expect(plural(1, "step")).toBe("1 step");
  expect(plural(2000, "step")).toBe(`2${THIN}000 steps`);
});

test("shares never round to nothing or to all", () => {
  expect([0, 0.5, 1, 0.0123, 0.28567, 1e-9, 0.9999].map(percent)).toEqual([
    "0%", "50%", "100%", "1.2%", "28.6%", "under 0.01%", "over 99.9%"]);
});

test("times and sizes", () => {
  expect([0.0417, 12, 150, 7500].map(duration)).toEqual([
    `0.042${THIN}s`, `12${THIN}s`, `3${THIN}min`, `2${THIN}h 5${THIN}min`]);
  expect([0, 999, 1500, 2.5e6, 3e12].map(bytes)).toEqual([
    `0${THIN}B`, `999${THIN}B`, `1.5${THIN}kB`, `2.5${THIN}MB`, `3${THIN}000${THIN}GB`]);
});

test("layers that follow each other are one range", () => {
  expect(layerRange([5, 1, 2, 3, 3])).toBe("1–3, 5");
  expect(layerRange([4])).toBe("4");
  expect(layerRange([])).toBe("");
});
