// SPDX-License-Identifier: Apache-2.0
// Where the page takes its runs from: a server that is asked (http.ts), or the report that it lies in
// (embedded.ts). Views do not know which.
import type { LiveEvent, Run, RunList } from "./types";
import type { Tile } from "./tile";

export interface Span {
  first: number; // steps, both included
  last: number;
}

export interface Source {
  readonly live: boolean; // a server; else nothing ever changes
  readonly note: string;
  runs(): Promise<RunList>;
  run(id: string): Promise<Run>;
  /** At most so many columns; a column may begin a little before the span and the last end behind it. */
  tile(id: string, series: string, span: Span, columns: number, signal?: AbortSignal): Promise<Tile>;
  histogram(id: string, role: string, layer: number, span: Span, columns: number,
    signal?: AbortSignal): Promise<Tile>;
  /** Calls back until the function that it returns is called. */
  follow(ids: string[], told: (event: LiveEvent) => void, connected: (up: boolean) => void): () => void;
}

/** What went wrong, as a sentence for people. gone: the server does not answer, and may come back. */
export class SourceError extends Error {
  readonly gone: boolean;
  constructor(sentence: string, gone = false) {
    super(sentence);
    this.gone = gone;
  }
}
