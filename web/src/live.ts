// SPDX-License-Identifier: Apache-2.0
// News of running trainings, passed on at most a few times a second, however many come.
import { useEffect, useState } from "preact/hooks";
import type { Source } from "./source/source";

export interface RunNews {
  lastStep: number;
  readFraction: number;
  documents: number; // so often its findings changed
}

export interface News {
  connected: boolean | null; // null: not known yet
  epoch: number; // so often a lost connection came back: all may have changed
  list: number; // so often the list of runs changed
  runs: ReadonlyMap<string, RunNews>;
}

const GATHER_MS = 250;
const NOTHING: News = { connected: null, epoch: 0, list: 0, runs: new Map() };

export function useNews(source: Source, ids: string[]): News {
  const [news, setNews] = useState(NOTHING);
  const key = ids.join("\n");
  useEffect(() => {
    if (!source.live) return undefined;
    let pending: News | null = null, latest = NOTHING;
    let timer: ReturnType<typeof setTimeout> | undefined;
    setNews(NOTHING);
    const tell = (next: News): void => {
      pending = latest = next;
      timer ??= setTimeout(() => {
        timer = undefined;
        if (pending) setNews(pending);
        pending = null;
      }, GATHER_MS);
    };
    const close = source.follow(key ? key.split("\n") : [], (event) => {
      if (event.type === "runs") {
        tell({ ...latest, list: latest.list + 1 });
        return;
      }
      const old = latest.runs.get(event.id);
      const run = {
        lastStep: event.last_step, readFraction: event.read_fraction,
        documents: (old?.documents ?? 0) + (event.findings ? 1 : 0),
      };
      tell({ ...latest, runs: new Map(latest.runs).set(event.id, run) });
    }, (connected) => {
      if (connected === latest.connected) return;
      const back = connected && latest.connected === false;
      tell({ ...latest, connected, epoch: latest.epoch + (back ? 1 : 0) });
    });
    return () => {
      clearTimeout(timer);
      close();
    };
  }, [source, key]);
  return news;
}
