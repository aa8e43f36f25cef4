// SPDX-License-Identifier: Apache-2.0
import type { Source } from "./source/source";
import { useState, useEffect } from "preact/hooks";
import type { Run } from "./source/types";

export function App({ source }: { source: Source }) {
  const [run, setRun] = useState<Run | null>(null);
  useEffect(() => {
    source.runs().then((list) => list.runs[0] && source.run(list.runs[0].id).then(setRun), () => undefined);
  }, [source]);
  return <main><h1>{run ? run.name : "Backprobe"}</h1></main>;
}
