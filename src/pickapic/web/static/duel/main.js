// The page: people's hands to the duel, the duel to the view.

import { Duel } from "./duel.js";
import { listenForKeys } from "./keys.js";
import { keysAreOn, recall, remember, switchKeys } from "./memory.js";
import { roll } from "./starters.js";
import { render } from "./view.js";

const part = (id) => document.getElementById(id);
const prompt = part("prompt");

const duel = new Duel({
  signedIn: document.body.dataset.signedIn === "yes",
  allowGuests: document.body.dataset.allowGuests === "yes",
  onChange: render,
});

// Words

prompt.value = recall().draft ?? recall().prompt ?? "";
prompt.placeholder = roll();
fit();

prompt.addEventListener("input", () => {
  fit();
  remember({ draft: prompt.value });
});

prompt.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  part("form").requestSubmit();
});

part("form").addEventListener("submit", (event) => {
  event.preventDefault();
  duel.start(prompt.value);
});

part("dice").addEventListener("click", () => {
  prompt.value = roll();
  fit();
  remember({ draft: prompt.value });
});

/** As high as its words, up to what the style allows. */
function fit() {
  prompt.style.height = "auto";
  prompt.style.height = `${prompt.scrollHeight}px`;
}

// Answers

for (const button of document.querySelectorAll("[data-answer]")) {
  // A click leaves the focus where it was: otherwise the space bar would pick the picture instead of skipping.
  button.addEventListener("mousedown", (event) => event.preventDefault());
  button.addEventListener("click", () => duel.answer(button.dataset.answer));
}

listenForKeys(
  () => ["compare", "waiting"].includes(duel.model.state),
  (answer) => duel.answer(answer),
);

part("finish").addEventListener("click", async () => {
  await duel.finish();
  fit();
  if (document.activeElement === prompt) prompt.select();
});

part("cancel").addEventListener("click", () => duel.cancel());

// Keys

part("keys-open").addEventListener("click", () => part("keys-dialog").showModal());
part("keys-on").checked = keysAreOn();
part("keys-on").addEventListener("change", (event) => switchKeys(event.target.checked));

render(duel.model);
duel.resume();
// Where a keyboard is at hand, one can write at once; on a phone it would cover the page.
if (duel.model.state === "compose" && matchMedia("(pointer: fine)").matches) prompt.focus();
