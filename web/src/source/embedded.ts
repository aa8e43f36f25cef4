// SPDX-License-Identifier: Apache-2.0
// Runs that lie in the page itself: a report.
import type { Embedded, Run } from "./types";
import { SourceError, type Source, type Span } from "./source";
import { cropTile, decodeTile, type Tile } from "./tile";

const MOST_BYTES = 160 << 20; // of an unpacked tile

async function unpack(base64: string): Promise<ArrayBuffer> {
  const packed = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  const reader = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate")).getReader();
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let bytes = 0;
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    bytes += part.value.byteLength;
    if (bytes > MOST_BYTES) throw new SourceError("A part of this report is too large to show.");
    parts.push(part.value as Uint8Array<ArrayBuffer>);
  }
  return new Blob(parts).arrayBuffer();
}

const emptyTile = (): Tile => ({
  codec: "log16", rows: 0, columns: 0, lastStep: -1, firstOctave: 0, starts: new Float64Array(1),
  mean: new Uint16Array(0), min: new Uint16Array(0), max: new Uint16Array(0), flags: new Uint8Array(0),
});

export function openEmbedded(data: Embedded): Source {
  if (data.schema !== "backprobe.page/1") throw new SourceError(`This report's data are ${data.schema}, which this page cannot read.`);
  const unpacked = new Map<string, Promise<Tile>>();
  const entry = (id: string): Embedded["runs"][number] => {
    const found = data.runs.find((candidate) => candidate.run.id === id);
    if (!found) throw new SourceError("This report does not hold that run.");
    return found;
  };
  const whole = (key: string, base64: string | undefined): Promise<Tile> => {
    if (base64 === undefined) return Promise.resolve(emptyTile());
    let tile = unpacked.get(key);
    if (!tile) {
      tile = unpack(base64).then(decodeTile);
      unpacked.set(key, tile);
    }
    return tile;
  };
  const crop = async (key: string, base64: string | undefined, span: Span): Promise<Tile> =>
    cropTile(await whole(key, base64), span.first, span.last);
  return {
    live: false,
    note: data.note,
    runs: async () => ({ schema: "backprobe.runs/1", folder: "", runs: data.runs.map(({ run }) => summary(run)) }),
    run: async (id) => { // what was left out for size is not offered
      const { run, tiles } = entry(id);
      return { ...run, series: run.series.filter(({ name }) => own(tiles, name) !== undefined) };
    },
    tile: async (id, series, span) => crop(`${id}\n${series}`, own(entry(id).tiles, series), span),
    histogram: async (id, role, layer, span) => {
      const layers = own(entry(id).histograms, role);
      return crop(`${id}\n${role}\n${layer}`, layers && own(layers, String(layer)), span);
    },
    follow: () => () => undefined,
  };
}

// A name from outside must not find what every object has ("constructor").
const own = <T>(table: Record<string, T>, key: string): T | undefined =>
  Object.hasOwn(table, key) ? table[key] : undefined;

function summary(run: Run): Awaited<ReturnType<Source["runs"]>>["runs"][number] {
  const { findings } = run;
  const worst = findings.findings.find((finding) => finding.open);
  return {
    id: run.id, name: run.name, modified: 0, bytes: 0, live: false, end: findings.end,
    last_step: findings.steps.last, loss: findings.loss.last,
    severity: worst?.severity ?? null, problem: worst?.problem ?? null, n_findings: findings.findings.length,
  };
}
