// SPDX-License-Identifier: Apache-2.0
// Numbers as people write them.
import type { Measured } from "./source/types";

const SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹";
const THIN = "\u202f"; // narrow, does not break

export const superscript = (exponent: number): string =>
  String(exponent).replace("-", "⁻").replace(/\d/g, (digit) => SUPERSCRIPTS[Number(digit)]!);

export const power = (exponent: number): string => `10${superscript(exponent)}`;

/** 12 345 678 */
export const integer = (value: number): string =>
  String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, THIN);

/** 2.3×10⁻¹², 0.14, 12.5: two or three digits that count. */
export function number(value: number, digits = 3): string {
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value < 0 ? "−∞" : "∞";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e-3 && size < 1e5)
    return size >= 1000 ? signed(value, integer(size)) : signed(value, String(Number(size.toPrecision(digits))));
  const [mantissa, exponent] = size.toExponential(digits - 1).split("e") as [string, string];
  const short = String(Number(mantissa));
  return signed(value, `${short === "1" ? "" : `${short}×`}${power(Number(exponent))}`);
}

const signed = (value: number, text: string): string => (value < 0 ? `−${text}` : text);

/** A number out of a document. */
export function measured(value: Measured, digits = 3): string {
  if (value === null) return "not measured";
  return number(typeof value === "number" ? value : Number(value), digits);
}

export const asNumber = (value: Measured): number | null => (value === null ? null : Number(value));

export const steps = (first: number, last: number): string =>
  first === last ? `step ${integer(first)}` : `steps ${integer(first)}–${integer(last)}`;

export const plural = (n: number, one: string, many = `${one}s`): string => `${integer(n)} ${n === 1 ? one : many}`;

/** Of a fraction 0 … 1. */
export function percent(fraction: number): string {
  if (fraction > 0 && fraction < 1e-4) return "under 0.01%";
  if (fraction < 1 && fraction > 0.999) return "over 99.9%";
  return `${number(100 * fraction, fraction < 0.1 ? 2 : 3)}%`;
}

export function duration(seconds: number): string {
  if (!(seconds >= 60)) return `${number(seconds, 2)}${THIN}s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes}${THIN}min`;
  return `${integer(Math.floor(minutes / 60))}${THIN}h ${minutes % 60}${THIN}min`;
}

export function bytes(n: number): string {
  const units = ["B", "kB", "MB", "GB"];
  let unit = 0;
  for (; n >= 999.5 && unit < units.length - 1; unit++) n /= 1000;
  return `${number(n)}${THIN}${units[unit]}`;
}

/** 1, 2, 3, 5: "1–3, 5" */
export function layerRange(ids: number[]): string {
  const sorted = [...new Set(ids)].sort((a, b) => a - b);
  const parts: string[] = [];
  let first = 0;
  sorted.forEach((id, i) => {
    if (sorted[i - 1] !== id - 1) first = id;
    if (sorted[i + 1] !== id + 1) parts.push(first === id ? `${id}` : `${first}–${id}`);
  });
  return parts.join(", ");
}
