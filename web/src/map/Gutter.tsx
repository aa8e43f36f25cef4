// SPDX-License-Identifier: Apache-2.0
// The names beside the map: layers where there is room, blocks as buttons that join and part.
import { blockKey, type Block, type Plan } from "./rows";
import { placed } from "./place";

const LABEL_PIXELS = 13;

interface GutterProps {
  plan: Plan;
  top: number; // lines that are seen
  bottom: number;
  height: number; // pixels
  current: number; // line of the chosen layer, or -1
  onToggle(block: Block): void;
}

export function Gutter({ plan, top, bottom, height, current, onToggle }: GutterProps) {
  const pixels = height / (bottom - top);
  const middle = (line: number): number => (line + 0.5 - top) * pixels;
  const every = Math.max(1, Math.ceil(LABEL_PIXELS / pixels));
  const first = Math.max(0, Math.floor(top)), end = Math.min(plan.lines.length, Math.ceil(bottom));
  const labels: number[] = [];
  for (let line = Math.ceil(first / every) * every; line < end; line += every) labels.push(line);
  return (
    <div class="gutter" ref={placed({ height })}>
      {labels.filter((line) => !isBlock(plan, line)).map((line) => (
        <span key={line} class={line === current ? "label current" : "label"} title={plan.lines[line]!.title}
          ref={placed({ top: middle(line) })}>{plan.lines[line]!.label}</span>
      ))}
      {blocksShown(plan, first, end, pixels).map(({ block, line }) => (
        <button key={blockKey(block)} type="button" class="block" aria-expanded={!block.collapsed} title={block.path}
          aria-label={block.path} ref={placed({ top: middle(line) })} onClick={() => onToggle(block)}>
          <i aria-hidden="true" class="chevron" />{block.path}
        </button>
      ))}
      {plan.blocks.filter((block) => !block.collapsed).map((block) => {
        const from = plan.lines.findIndex((line) => line.from === block.from);
        const start = (from - top) * pixels, end = start + (block.to - block.from) * pixels;
        return end > 0 && start < height && (
          <i key={blockKey(block)} class="block-bar" aria-hidden="true"
            ref={placed({ top: Math.max(start, 0) + 2, height: Math.max(Math.min(end, height) - Math.max(start, 0) - 4, 1) })} />
        );
      })}
    </div>
  );
}

const isBlock = (plan: Plan, line: number): boolean => plan.lines[line]!.block?.collapsed ?? false;

function blocksShown(plan: Plan, first: number, end: number, pixels: number): { block: Block; line: number }[] {
  const shown: { block: Block; line: number }[] = [];
  let free = -Infinity; // pixels, from where there is room again
  for (let line = first; line < end; line++) {
    const block = plan.lines[line]!.block;
    if (!block || plan.lines[line]!.from !== block.from || line * pixels < free) continue;
    shown.push({ block, line });
    free = line * pixels + LABEL_PIXELS;
  }
  return shown;
}
