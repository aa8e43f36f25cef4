// SPDX-License-Identifier: Apache-2.0
import { useEffect, useRef } from "preact/hooks";

const KEYS: [string, string][] = [
  ["← →", "one column of the map back or on (with Shift: ten)"],
  ["↑ ↓", "one layer towards the input or the loss (with Shift: ten)"],
  ["Home, End", "first and last step"],
  ["+ −", "closer, farther; Ctrl and the wheel, or two fingers, do the same"],
  ["0", "the whole run"],
  ["[ ]", "fewer or more layers, where they are too many to read"],
  ["Page Up, Page Down", "half a screen back or on; or drag with Shift"],
  ["Enter", "collapses or expands the block of the layer"],
  ["Esc", "lets go of the finding that was chosen"],
  ["?", "this help"],
];

export function Help({ open, onClose }: { open: boolean; onClose(): void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    if (open && !dialog.current?.open) dialog.current?.showModal();
    if (!open && dialog.current?.open) dialog.current.close();
  }, [open]);
  return (
    <dialog ref={dialog} class="help" aria-labelledby="help-title" onClose={onClose}>
      <h2 id="help-title">Keys</h2>
      <p>With the heat map in focus (Tab reaches it):</p>
      <dl>{KEYS.map(([keys, meaning]) => <div key={keys}><dt><kbd>{keys}</kbd></dt><dd>{meaning}</dd></div>)}</dl>
      <p>A drag over the map zooms to what it frames; a click chooses a step and a layer for all panels.</p>
      <button type="button" class="tool" onClick={onClose}>Close</button>
    </dialog>
  );
}
