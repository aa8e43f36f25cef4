// SPDX-License-Identifier: Apache-2.0
// What stands beside what: the layers as lines from the input down, blocks of them under one name,
// which a click joins into one line.
import type { Layer } from "../source/types";

export interface Line {
  label: string;
  title: string; // the whole name
  from: number; // rows of the tile: from … to - 1
  to: number;
  block: Block | null; // that it belongs to, or stands for
}

export interface Block {
  path: string;
  from: number;
  to: number;
  collapsed: boolean;
}

export interface Plan {
  lines: Line[];
  blocks: Block[];
  lineOf: Int32Array; // by row; -1: not shown
}

const MANY_LINES = 64;

/** "blocks.0.attn.proj" → "blocks.0", "head.fc" → "head", "features.3" → "features", "dense_1" → "". */
export function blockPath(name: string): string {
  const parts = name.split(".");
  const number = parts.findIndex((part) => /^\d+$/.test(part));
  if (number >= 0 && number < parts.length - 1) return parts.slice(0, number + 1).join(".");
  return parts.slice(0, -1).join(".");
}

function findBlocks(layers: Layer[]): Block[] {
  const blocks: Block[] = [];
  for (let from = 0; from < layers.length;) {
    const path = blockPath(layers[from]!.name);
    let to = from + 1;
    while (to < layers.length && blockPath(layers[to]!.name) === path) to++;
    const all = to - from === layers.length;
    if (path !== "" && to - from > 1 && !all) blocks.push({ path, from: from + 1, to: to + 1, collapsed: false });
    from = to;
  }
  return blocks;
}

/** Whether blocks begin joined: where their layers would be too many lines to read. */
export function joinsAtFirst(layers: Layer[]): boolean {
  const blocks = findBlocks(layers);
  const joined = blocks.reduce((lines, block) => lines - (block.to - block.from) + 1, layers.length);
  return layers.length > MANY_LINES && joined * 3 <= layers.length;
}

/** toggled: blocks, by path and first row, that are not as they began. has: which rows (0 is the input)
 *  there is anything to show of. */
export function planRows(layers: Layer[], toggled: ReadonlySet<string>, has: (row: number) => boolean): Plan {
  const some = (from: number, to: number): boolean => {
    for (let row = from; row < to; row++) if (has(row)) return true;
    return false;
  };
  const blocks = findBlocks(layers).filter(({ from, to }) => some(from, to));
  const joined = joinsAtFirst(layers);
  for (const block of blocks) block.collapsed = joined !== toggled.has(blockKey(block));
  const lines: Line[] = [];
  if (has(0)) lines.push({ label: "input", title: "input", from: 0, to: 1, block: null });
  const blockAt = new Map(blocks.map((block) => [block.from, block]));
  let block: Block | null = null;
  for (let row = 1; row <= layers.length; row++) {
    block = blockAt.get(row) ?? (block && row < block.to ? block : null);
    if (block?.collapsed) {
      const { path, from, to } = block;
      lines.push({ label: path, title: `${path}, ${to - from} layers`, from, to, block });
      row = to - 1;
      continue;
    }
    if (!has(row)) continue;
    const { name } = layers[row - 1]!;
    const label = block ? name.slice(block.path.length + 1) : name;
    lines.push({ label: label || name, title: name, from: row, to: row + 1, block });
  }
  const lineOf = new Int32Array(layers.length + 1).fill(-1);
  lines.forEach((line, at) => lineOf.fill(at, line.from, line.to));
  return { lines, blocks, lineOf };
}

export const blockKey = (block: Block): string => `${block.from} ${block.path}`;

/** The line that shows a row, or -1. */
export const lineOfRow = (plan: Plan, row: number): number => plan.lineOf[row] ?? -1;
