// SPDX-License-Identifier: Apache-2.0
// What helps: a change of the network file, or lines of Python to copy.
import { useRef, useState } from "preact/hooks";
import type { DiffLine, Remedy as RemedyData } from "../source/types";


function Diff({ lines }: { lines: DiffLine[] }) {
  return (
    <pre class="diff" tabIndex={0} aria-label="Change of the network file">
      {lines.map((line, i) => {
        const Line = line.added ? "ins" : "del";
        return (
          <Line key={i}>
            <span class="diff-line">{line.line}</span>
            <span class="diff-sign">{line.added ? "+" : "−"}</span>
            <span class="diff-text">{line.text}{"\n"}</span>
          </Line>
        );
      })}
    </pre>
  );
}

/** Where the browser keeps the clipboard from us, the lines are left selected. */
async function copy(text: string, from: HTMLElement | null): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    if (from) getSelection()?.selectAllChildren(from);
    return false;
  }
}

function Code({ text }: { text: string }) {
  const code = useRef<HTMLElement>(null);
  const [said, setSaid] = useState("");
  const onCopy = async () => {
    setSaid(await copy(text, code.current) ? "Copied" : "Selected: copy with Ctrl+C");
    setTimeout(() => setSaid(""), 3000);
  };
  return (
    <div class="code">
      <pre tabIndex={0} aria-label="Python"><code ref={code}>{text}</code></pre>
      <button type="button" class="quiet" onClick={onCopy}>Copy</button>
      <span role="status" class="said">{said}</span>
    </div>
  );
}

function Edits({ edits }: { edits: RemedyData["edits"] }) {
  return (
    <pre class="diff" tabIndex={0} aria-label="Change of the network file">
      {edits.map((edit, i) => (
        <ins key={i}>
          <span class="diff-sign">+</span>
          <span class="diff-text">{edit.key}: {edit.value}{"\n"}</span>
        </ins>
      ))}
    </pre>
  );
}

export function Remedy({ remedy }: { remedy: RemedyData }) {
  const { code, edits } = remedy;
  const diff = remedy.diff ?? [];
  return (
    <div class="remedy">
      <p class="remedy-title"><span class="label">help</span>{remedy.title}</p>
      {remedy.reason && <p>{remedy.reason}</p>}
      {code ? <Code text={code.trimEnd()} />
        : diff.length > 0 ? <Diff lines={diff} />
          : edits.length > 0 && <Edits edits={edits} />}
    </div>
  );
}
