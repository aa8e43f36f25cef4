// SPDX-License-Identifier: Apache-2.0
// A bounded memory of tiles: what was asked for longest ago goes first.
import type { Tile } from "./tile";

export class TileCache {
  private readonly kept = new Map<string, { tile: Tile; bytes: number }>();
  private bytes = 0;
  constructor(private readonly mostBytes: number) {}

  get(key: string): Tile | undefined {
    const entry = this.kept.get(key);
    if (!entry) return undefined;
    this.kept.delete(key);
    this.kept.set(key, entry);
    return entry.tile;
  }

  set(key: string, tile: Tile): void {
    this.drop(key);
    const bytes = tile.starts.byteLength + tile.flags.byteLength + 3 * tile.mean.byteLength;
    this.kept.set(key, { tile, bytes });
    this.bytes += bytes;
    for (const oldest of this.kept.keys()) {
      if (this.bytes <= this.mostBytes || oldest === key) break;
      this.drop(oldest);
    }
  }

  private drop(key: string): void {
    const entry = this.kept.get(key);
    if (!entry) return;
    this.bytes -= entry.bytes;
    this.kept.delete(key);
  }
}
