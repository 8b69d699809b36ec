// The prompt box: words that survive a reload, what they leave out, a prompt from the dice, auto mode.

import { t } from "../language.js";
import { recall, remember } from "./memory.js";
import { negatives } from "./negatives.js";
import { roll } from "./starters.js";

const part = (id) => document.getElementById(id);

/** Make the box work; `start(prompt)` and `switchAuto(on)` are called. Returns `{write, refit}`. */
export function makeCompose({ start, switchAuto }) {
  const box = part("prompt");
  box.value = recall().draft ?? recall().prompt ?? "";
  box.placeholder = roll();

  /** As high as its words, up to what the style allows. */
  function refit() {
    box.style.height = "auto";
    box.style.height = `${box.scrollHeight}px`;
    const left = negatives(box.value);
    part("left-out").hidden = left.length === 0;
    part("left-out-list").textContent = left.join(", ");
  }

  function write(prompt) {
    box.value = prompt;
    remember({ draft: prompt });
    refit();
  }

  box.addEventListener("input", () => write(box.value));
  box.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    part("form").requestSubmit();
  });
  part("form").addEventListener("submit", (event) => {
    event.preventDefault();
    // In auto mode nobody has to write anything.
    if (part("auto-compose").checked && !box.value.trim()) start(roll());
    else start(box.value);
  });
  part("dice").addEventListener("click", () => write(roll()));
  part("auto-compose").addEventListener("change", (event) => {
    box.placeholder = event.target.checked ? t("Write the first prompt, or leave it to us.") : roll();
    switchAuto(event.target.checked);
  });
  refit();
  return { write, refit };
}
