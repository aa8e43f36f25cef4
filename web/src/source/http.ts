// SPDX-License-Identifier: Apache-2.0
// Runs from the server that the page came from.
import type { LiveEvent, Run, RunList } from "./types";
import { SourceError, type Source, type Span } from "./source";
import { decodeTile, type Tile } from "./tile";
import { TileCache } from "./lru";

const CACHE_BYTES = 48 << 20;
const RETRY_MS = 2000;
const PATIENCE_MS = 20_000;

async function sentenceOf(response: Response): Promise<string> {
  try {
    const body = await response.json() as { error?: unknown };
    if (typeof body.error === "string") return body.error;
  } catch {
    // no JSON: the status must do
  }
  return `the server answered ${response.status} ${response.statusText}`;
}

async function get(path: string, signal?: AbortSignal): Promise<Response> {
  const limit = AbortSignal.timeout(PATIENCE_MS);
  let response: Response;
  try {
    response = await fetch(path, {
      signal: signal ? AbortSignal.any([signal, limit]) : limit, credentials: "same-origin", cache: "no-store",
    });
  } catch (reason) {
    if (signal?.aborted) throw reason;
    throw new SourceError("The server does not answer.", true);
  }
  if (response.status === 401 || response.status === 403)
    throw new SourceError("The server no longer knows this page: open the address that “backprobe serve” printed.");
  if (response.status === 503) throw new SourceError(await sentenceOf(response), true);
  if (!response.ok) throw new SourceError(await sentenceOf(response));
  return response;
}

async function json<T extends { schema: string }>(path: string, schema: string): Promise<T> {
  const document = await (await get(path)).json() as T;
  if (document.schema !== schema) throw new SourceError(`The server sent ${document.schema}, not ${schema}.`);
  return document;
}

export function openHttp(): Source {
  const cache = new TileCache(CACHE_BYTES);
  const versions = new Map<string, number>(); // of runs: raised by each event, so that tiles age

  async function cached(id: string, rest: string, signal?: AbortSignal): Promise<Tile> {
    const path = `api/runs/${encodeURIComponent(id)}/${rest}`;
    const key = `${versions.get(id) ?? 0} ${path}`;
    const known = cache.get(key);
    if (known) return known;
    const tile = decodeTile(await (await get(path, signal)).arrayBuffer());
    cache.set(key, tile);
    return tile;
  }

  const place = (span: Span, columns: number): string =>
    `first=${span.first}&last=${span.last}&columns=${columns}`;

  return {
    live: true,
    note: "",
    runs: () => json<RunList>("api/runs", "backprobe.runs/1"),
    run: (id) => json<Run>(`api/runs/${encodeURIComponent(id)}`, "backprobe.run/1"),
    tile: (id, series, span, columns, signal) =>
      cached(id, `tile?series=${encodeURIComponent(series)}&${place(span, columns)}`, signal),
    histogram: (id, role, layer, span, columns, signal) =>
      cached(id, `histogram?role=${encodeURIComponent(role)}&layer=${layer}&${place(span, columns)}`, signal),
    follow: (ids, told, connected) => follow(ids, (event) => {
      if (event.type === "run") versions.set(event.id, (versions.get(event.id) ?? 0) + 1);
      told(event);
    }, connected),
  };
}

// EventSource comes back by itself after a broken connection, but not after a refusal.
function follow(ids: string[], told: (event: LiveEvent) => void, connected: (up: boolean) => void): () => void {
  const path = "api/events?" + ids.map((id) => `run=${encodeURIComponent(id)}`).join("&");
  let events: EventSource | undefined, timer: ReturnType<typeof setTimeout> | undefined;
  const open = (): void => {
    events = new EventSource(path);
    events.onopen = () => connected(true);
    events.onmessage = (message) => {
      const event = parseEvent(message.data);
      if (event) told(event);
    };
    events.onerror = () => {
      connected(false);
      if (events?.readyState === EventSource.CLOSED) timer = setTimeout(open, RETRY_MS);
    };
  };
  open();
  return () => {
    clearTimeout(timer);
    events?.close();
  };
}

function parseEvent(data: unknown): LiveEvent | undefined {
  try {
    const event = JSON.parse(String(data)) as LiveEvent;
    return event.type === "runs" || event.type === "run" ? event : undefined;
  } catch {
    return undefined; // not ours: nothing to act on
  }
}
