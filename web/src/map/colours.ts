// SPDX-License-Identifier: Apache-2.0
// Colours of the map: a table of all codes, and patterns for what is no number, so that nothing is
// told by colour alone.
import { CODE_ABSENT, CODE_INF, CODE_LAST, CODE_NAN, CODE_ZERO } from "../source/tile";
import { placeOf, type Scale } from "./scale";
import { RANK_INF, codeOfRank, middleOf } from "./codes";
import type { Quantity } from "./quantities";
import type { ThemeColours } from "../theme";

export type Scheme = "viridis" | "cividis";

// Perceptually even ramps of matplotlib (BSD), at tenths and ninths.
const RAMPS: Record<Scheme, string[]> = {
  viridis: ["440154", "482475", "414487", "355f8d", "2a788e", "21918c", "22a884", "44bf70", "7ad151", "bddf26", "fde725"],
  cividis: ["00224e", "123570", "3b496c", "575d6d", "707173", "8a8678", "a59c74", "c3b369", "e1cc55", "fee838"],
};
// Around what is healthy, which is as quiet as the paper; and from nothing to an alarm.
const RATIO = {
  light: ["0b3c6f", "2f6fa8", "7fb0d3", "cfdfe9", "f1eee8", "f3d6bf", "e39a6b", "c0562f", "7a1f12"],
  dark: ["a5d4ff", "5a9cd8", "2f659a", "233c57", "24272d", "543728", "9a552e", "e2864d", "ffcda8"],
};
const ALARM = {
  light: ["ece9e1", "f4d7a4", "eeac5b", "d8722b", "a63d16", "5f1a0c"],
  dark: ["22262d", "4f3921", "8d5624", "d27c30", "f6b064", "ffe6b8"],
};

/** Words as canvases keep them: 0xAABBGGRR. */
export function packColour(hex: string): number {
  const value = parseInt(hex.replace("#", ""), 16);
  return (0xff000000 | ((value & 0xff) << 16) | (value & 0xff00) | (value >> 16)) >>> 0;
}

function mix(ramp: string[], place: number): number {
  const at = Math.min(Math.max(place, 0), 1) * (ramp.length - 1), from = Math.min(Math.floor(at), ramp.length - 2);
  return blend(packColour(ramp[from]!), packColour(ramp[from + 1]!), at - from);
}

function rampOf(quantity: Quantity, scheme: Scheme, dark: boolean): string[] {
  if (quantity.kind === "ratio" || quantity.kind === "signed") return dark ? RATIO.dark : RATIO.light;
  if (quantity.kind === "share" || quantity.kind === "alarm") return dark ? ALARM.dark : ALARM.light;
  return RAMPS[scheme];
}

const PLACES = 1024;
const FADED = 0.3; // share of paper
const ZERO_COLOUR = "0b0b10";

/** A pattern that lies over a faded colour; 0 lets it through. */
export const CODE_HELD = 65532;

/** Of every code; what is no number has patterns instead (Patterns). */
function coloursOfCodes(quantity: Quantity, scale: Scale, scheme: Scheme, dark: boolean): Uint32Array {
  const ramp = rampOf(quantity, scheme, dark);
  const shades = Uint32Array.from({ length: PLACES + 1 }, (_, place) => mix(ramp, place / PLACES));
  const colours = new Uint32Array(CODE_LAST + 1);
  for (let code = 0; code <= CODE_LAST; code++) {
    const place = placeOf(scale, quantity, code);
    const alarm = quantity.kind === "alarm" && code > CODE_ZERO; // 1 is far from nothing
    colours[code] = shades[Math.round((alarm ? 0.2 + 0.8 * place : place) * PLACES)]!;
  }
  return colours;
}

export interface Tables {
  codes: Uint32Array; // by code
  ranks: Uint32Array; // by rank; 0: a pattern
  faded: Uint32Array; // by rank: paler, for what is only thought to be so; 0: nothing
}

export function tablesOf(quantity: Quantity, scale: Scale, scheme: Scheme, theme: ThemeColours): Tables {
  const codes = coloursOfCodes(quantity, scale, scheme, theme.dark), paper = packColour(theme.paper);
  const ranks = new Uint32Array(65536), faded = new Uint32Array(65536), middle = middleOf(quantity);
  for (let rank = 1; rank < RANK_INF; rank++) {
    const code = codeOfRank(rank, middle);
    if (code > CODE_LAST) continue;
    const pattern = isPattern(quantity, code);
    ranks[rank] = pattern ? 0 : codes[code]!;
    faded[rank] = blend(pattern ? packColour(ZERO_COLOUR) : codes[code]!, paper, FADED);
  }
  return { codes, ranks, faded };
}

function blend(word: number, other: number, share: number): number {
  let mixed = 0xff000000;
  for (const shift of [0, 8, 16]) {
    const a = (word >> shift) & 0xff, b = (other >> shift) & 0xff;
    mixed |= Math.round(a + (b - a) * share) << shift;
  }
  return mixed >>> 0;
}

export interface Patterns {
  size: number; // device pixels after which patterns repeat
  of: Map<number, Uint32Array>; // by code: [size][size]
}

/** Whether a code is drawn as a pattern for this quantity. */
export const isPattern = (quantity: Quantity, code: number): boolean =>
  code > CODE_LAST || (code === CODE_ZERO && (quantity.kind === "log" || quantity.kind === "ratio"));

export function patternsOf(quantity: Quantity, theme: ThemeColours, ratio: number): Patterns {
  const unit = Math.max(1, Math.round(ratio)), size = 12 * unit;
  const paper = packColour(theme.paper), ink = packColour(theme.ink), alarm = packColour(theme.error);
  const dot = blend(paper, packColour(theme.muted), 0.5);
  const black = packColour(ZERO_COLOUR), grey = packColour("4a4a55");
  const draw = (pixel: (x: number, y: number) => number): Uint32Array => Uint32Array.from({ length: size * size },
    (_, at) => pixel(Math.floor((at % size) / unit), Math.floor(at / size / unit)));
  const of = new Map<number, Uint32Array>([
    [CODE_NAN, draw((x, y) => ((x + y) % 4 < 2 ? alarm : paper))],
    [CODE_INF, draw((x, y) => ((x + y) % 4 === 0 || (x - y + 12) % 4 === 0 ? ink : paper))],
    [CODE_ABSENT, draw((x, y) => (x % 6 === 2 && y % 6 === 2 ? dot : paper))],
    [CODE_HELD, draw((x, y) => (x % 6 === 2 && y % 6 === 2 ? paper : 0))],
  ]);
  if (isPattern(quantity, CODE_ZERO)) of.set(CODE_ZERO, draw((_x, y) => (y % 4 === 0 ? grey : black)));
  return { size, of };
}
