// SPDX-License-Identifier: Apache-2.0
// The quantities that the map can show: their names for people, and how each is coloured.
import type { Run, Series } from "../source/types";

/** log: magnitudes. ratio: around what is healthy. share: 0 … 1. alarm: counts, of which 0 is well.
 *  signed: both sides of 0. */
export type Kind = "log" | "ratio" | "share" | "alarm" | "signed";

export interface Quantity {
  name: string; // of the series
  label: string;
  meaning: string;
  kind: Kind;
  centre: number; // of a ratio
}

interface Known {
  label: string;
  kind?: Kind;
  centre?: number;
}

// In the order in which people ask; all others follow in the log's order, behind "more".
const KNOWN: Record<string, Known> = {
  gradient_rms: { label: "Gradient" },
  gain: { label: "Gain", kind: "ratio", centre: 1 },
  update_ratio: { label: "Update ratio", kind: "ratio", centre: 1e-3 },
  dead_fraction: { label: "Dead units", kind: "share" },
  non_finite: { label: "NaN and Inf", kind: "alarm" },
};

const SHARES = new Set(["saturated_fraction", "gradient_tiny", "error_tiny"]);
const SIGNED = new Set(["effect", "gradient_cosine"]);
const ALARMS = /_(nan|inf|bad)$|^(missing_gradients|stalled|silent_units|dead_units|saturated_units)$/;

function kindOf(name: string): Kind {
  if (SHARES.has(name)) return "share";
  if (SIGNED.has(name)) return "signed";
  return ALARMS.test(name) ? "alarm" : "log";
}

export function quantityOf(series: Series): Quantity {
  const known = Object.hasOwn(KNOWN, series.name) ? KNOWN[series.name] : undefined;
  const words = series.name.replaceAll("_", " ").replace(/ units$/, " units, counted");
  return {
    name: series.name,
    label: known?.label ?? words.charAt(0).toUpperCase() + words.slice(1),
    meaning: series.meaning,
    kind: known?.kind ?? kindOf(series.name),
    centre: known?.centre ?? 1,
  };
}

/** What the run has of layers: the usual ones first, then the rest. */
export function quantitiesOf(run: Run): { usual: Quantity[]; more: Quantity[] } {
  const all = run.series.filter((series) => series.of === "layers").map(quantityOf);
  const order = Object.keys(KNOWN);
  const usual = order.flatMap((name) => all.filter((quantity) => quantity.name === name));
  return { usual, more: all.filter((quantity) => !order.includes(quantity.name)) };
}
