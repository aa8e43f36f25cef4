// SPDX-License-Identifier: Apache-2.0
// The map's colours, as one image.
import { useLayoutEffect, useRef } from "preact/hooks";
import type { Tile } from "../source/tile";
import { middleOf, ranksOf, type Show } from "./codes";
import type { Patterns, Tables } from "./colours";
import { picture, toPixels, type Window } from "./paint";
import type { Quantity } from "./quantities";
import type { Plan } from "./rows";

interface RasterProps {
  detail: Tile | null; // goes before the whole where it reaches
  wholeTile: Tile | null;
  plan: Plan;
  window: Window;
  width: number; // CSS pixels
  height: number;
  ratio: number; // device pixels of one
  quantity: Quantity;
  show: Show;
  signedSize: number;
  tables: Tables;
  patterns: Patterns;
}

export function Raster(props: RasterProps) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const image = useRef<ImageData | null>(null);
  const { detail, wholeTile, plan, window, width, height, ratio, quantity, show, signedSize, tables, patterns } = props;
  useLayoutEffect(() => {
    const element = canvas.current, context = element?.getContext("2d");
    if (!element || !context || width === 0) return;
    const w = Math.round(width * ratio), h = Math.round(height * ratio);
    if (element.width !== w || element.height !== h) {
      element.width = w;
      element.height = h;
    }
    element.style.height = `${height}px`;
    const layers = [detail, wholeTile].filter((tile) => tile !== null)
      .map((tile) => ({ tile, ranks: ranksOf(tile, quantity, show, signedSize) }));
    if (layers.length === 0) {
      context.clearRect(0, 0, w, h);
      return;
    }
    if (image.current?.width !== w || image.current.height !== h) image.current = context.createImageData(w, h);
    const drawn = picture(layers, plan.lines, window, w, h);
    toPixels(drawn, middleOf(quantity), tables, patterns, new Uint32Array(image.current.data.buffer));
    context.putImageData(image.current, 0, 0);
  }, [detail, wholeTile, plan, window.first, window.end, window.top, window.bottom, width, height, ratio,
    quantity, show, signedSize, tables, patterns]);
  return <canvas ref={canvas} class="raster" aria-hidden="true" />;
}
