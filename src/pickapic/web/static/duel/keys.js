// The keyboard: off while typing, while a dialog or menu is open, and when the person switched it off.

import { keysAreOn } from "./memory.js";
import { peek } from "./peek.js";

const ANSWER_OF_KEY = {
  ArrowLeft: "left",
  1: "left",
  ArrowRight: "right",
  2: "right",
  ArrowDown: "tie",
  3: "tie",
  " ": "skip",
  u: "undo",
};
const PAN_OF_KEY = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const SIZE_OF_KEY = { "+": 1, "=": 1, "-": -1 };

/** `isPlaying()` says whether keys mean anything now; `answer(answer)` and `next()` are called. */
export function listenForKeys(pair, zoom, { isPlaying, answer, next }) {
  let endPeek = null;
  const stopPeek = () => {
    endPeek?.();
    endPeek = null;
  };

  function meaning(key) {
    if (zoom.isOn && key in PAN_OF_KEY) return { does: () => zoom.pan(...PAN_OF_KEY[key]), repeats: true };
    if (zoom.isOn && key in SIZE_OF_KEY) return { does: () => zoom.step(SIZE_OF_KEY[key]), repeats: true };
    if (zoom.isOn && key === "Escape") return { does: () => zoom.leave() };
    if (key in ANSWER_OF_KEY) return { does: () => answer(ANSWER_OF_KEY[key]) };
    if (key === "z") return { does: () => zoom.toggle() };
    if (key === "c") return { does: () => (endPeek ??= peek(pair)) };
    if (key === "n") return { does: next };
    return null;
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (!isPlaying() || !keysAreOn() || isTaken(event)) return;
    const found = meaning(nameOf(event));
    if (!found) return;
    event.preventDefault();
    // A key held down is one answer, not thirty a second.
    if (!event.repeat || found.repeats) found.does();
  });
  document.addEventListener("keyup", (event) => nameOf(event) === "c" && stopPeek());
  addEventListener("blur", stopPeek);
}

/** The key by what it writes; where that is no Latin letter, by where it is on the board. */
function nameOf({ key, code }) {
  if (key.length !== 1) return key;
  if (key > "\u007f" && code.startsWith("Key")) return code.slice(3).toLowerCase();
  return key.toLowerCase();
}

function isTaken(event) {
  const target = event.target;
  if (document.querySelector("dialog[open], :popover-open")) return true;
  if (target.closest("input, textarea, select, [contenteditable]")) return true;
  // The space bar presses the button that has the focus.
  return event.key === " " && target.closest("button, a, summary") !== null;
}
