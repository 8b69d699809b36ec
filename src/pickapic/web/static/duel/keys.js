// The keyboard: one table, off while typing, while a dialog is open, and when the person switched it off.

import { keysAreOn } from "./memory.js";

const ANSWER_OF_KEY = {
  ArrowLeft: "left",
  1: "left",
  ArrowRight: "right",
  2: "right",
  ArrowDown: "tie",
  3: "tie",
  " ": "skip",
  u: "undo",
  U: "undo",
};

/** Call `onAnswer` with left, right, tie, skip or undo; `isListening` says whether an answer is wanted now. */
export function listenForKeys(isListening, onAnswer) {
  document.addEventListener("keydown", (event) => {
    const answer = ANSWER_OF_KEY[event.key];
    if (!answer || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (!isListening() || !keysAreOn() || isTaken(event)) return;
    event.preventDefault();
    // A key held down is one answer, not thirty a second.
    if (!event.repeat) onAnswer(answer);
  });
}

function isTaken(event) {
  const target = event.target;
  if (document.querySelector("dialog[open]")) return true;
  if (target.closest("input, textarea, select, [contenteditable]")) return true;
  // The space bar presses the button that has the focus.
  return event.key === " " && target.closest("button, a, summary") !== null;
}
