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
  onToggle(blocks: Block[]): void;
  onAll: (() => void) | null; // shows all lines; null: they are
}

function Head({ plan, onToggle, onAll }: GutterProps) {
  const joined = plan.blocks.filter((block) => block.collapsed);
  const parted = plan.blocks.filter((block) => !block.collapsed);
  return (
    <div class="gutter-head">
      {plan.blocks.length > 1 && (joined.length > 0
        ? <button type="button" class="bare" onClick={() => onToggle(joined)}>Expand all</button>
        : <button type="button" class="bare" onClick={() => onToggle(parted)}>Collapse all</button>)}
      {onAll && <button type="button" class="bare" onClick={onAll}>All layers</button>}
    </div>
  );
}

export function Gutter(props: GutterProps) {
  const { plan, top, bottom, height, current, onToggle } = props;
  const pixels = height / (bottom - top);
  const middle = (line: number): number => (line + 0.5 - top) * pixels;
  const every = Math.max(1, Math.ceil(LABEL_PIXELS / pixels));
  const first = Math.max(0, Math.floor(top)), end = Math.min(plan.lines.length, Math.ceil(bottom));
  const labels: number[] = [];
  for (let line = Math.ceil(first / every) * every; line < end; line += every) labels.push(line);
  return (
    <div><Head {...props} /><div class="gutter" ref={placed({ height })}>
      {labels.filter((line) => !isBlock(plan, line)).map((line) => (
        <span key={line} class={line === current ? "map-label current" : "map-label"} title={plan.lines[line]!.title}
          ref={placed({ top: middle(line) })}>{plan.lines[line]!.label}</span>
      ))}
      {blocksShown(plan, first, end, pixels).map(({ block, line }) => (
        <button key={blockKey(block)} type="button" class="block" aria-expanded={!block.collapsed} title={block.path}
          aria-label={block.path} ref={placed({ top: middle(line) })} onClick={() => onToggle([block])}>
          <i aria-hidden="true" class="map-chevron" />{block.path}
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
    </div></div>
  );
}

const isBlock = (plan: Plan, line: number): boolean => plan.lines[line]!.block?.collapsed ?? false;

function blocksShown(plan: Plan, first: number, end: number, pixels: number): { block: Block; line: number }[] {
  const shown: { block: Block; line: number }[] = [];
  let free = -Infinity; // pixels, from where there is room again
  for (let line = first; line < end; line++) {
    const block = plan.lines[line]!.block;
    const begins = block && (plan.lines[line]!.from === block.from || line === first); // or before what is seen
    if (!begins || line * pixels < free) continue;
    shown.push({ block, line });
    free = line * pixels + LABEL_PIXELS;
  }
  return shown;
}
