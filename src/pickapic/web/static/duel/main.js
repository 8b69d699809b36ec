// The page: people's hands to the duel, the duel to the view.

import { readMe } from "./api.js";
import { makeCompose } from "./compose.js";
import { askConsent } from "./consent.js";
import { Duel } from "./duel.js";
import { listenForGestures } from "./gestures.js";
import { makeHistory } from "./history.js";
import { listenForKeys } from "./keys.js";
import { keysAreOn, switchKeys, tourIsDone } from "./memory.js";
import { makeMore } from "./more.js";
import { makeReport } from "./report.js";
import { urlOf } from "./rounds.js";
import { Session } from "./session.js";
import { share } from "./share.js";
import { watchSides } from "./sides.js";
import { takeTour } from "./tour.js";
import { render, say, tell } from "./view.js";
import { Zoom } from "./zoom.js";

const part = (id) => document.getElementById(id);
const { kind, gate, allowGuests, freePrompt, freePicks } = document.body.dataset;

const session = new Session({ kind, allowGuests: allowGuests === "yes", freePrompt, askConsent });
const zoom = new Zoom(part("pair"), say);

// What one sees

let before = { state: "", round: null };

function show(model) {
  // A new round shows whole pictures.
  if (model.round !== before.round || model.state !== "compare") zoom.leave();
  const isFirstRound = model.state === "compare" && before.state !== "compare";
  before = model;
  render(model);
  part("history").hidden = part("terms-line").hidden = false;
  part(session.kind === "" ? "history" : "terms-line").hidden = true;
  if (isFirstRound && !tourIsDone()) takeTour();
}

const duel = new Duel({
  session,
  gate: gate ? { kind: gate, message: "" } : null,
  freePicks: Number(freePicks),
  onChange: show,
});

// What one does

const compose = makeCompose({ start: (prompt) => duel.start(prompt), switchAuto: (on) => duel.switchAuto(on) });
makeHistory(session, (prompt) => {
  compose.write(prompt);
  part("prompt").focus();
});
part("try-free").addEventListener("click", () => duel.start(freePrompt));

watchSides(part("pair"));
listenForGestures(part("pair"), zoom, { takes: (side) => duel.takes(side), onPick: (side) => duel.answer(side) });
listenForKeys(part("pair"), zoom, {
  isPlaying: () => ["compare", "waiting"].includes(duel.model.state),
  answer: (answer) => duel.answer(answer),
  next: () => duel.model.auto && duel.next(),
});

for (const button of document.querySelectorAll(".bar [data-answer], #zoom, #auto-stage")) {
  // A click leaves the focus where it was: otherwise the space bar would press the button again instead of skipping.
  button.addEventListener("mousedown", (event) => event.preventDefault());
}
for (const button of document.querySelectorAll(".bar [data-answer]")) {
  button.addEventListener("click", () => duel.answer(button.dataset.answer));
}
part("zoom").addEventListener("click", () => zoom.toggle());
part("auto-stage").addEventListener("click", () => duel.switchAuto(!duel.model.auto));
part("cancel").addEventListener("click", () => duel.cancel());
part("finish").addEventListener("click", async () => {
  await duel.finish();
  compose.refit();
  if (document.activeElement === part("prompt")) part("prompt").select();
});

/** After a menu or a dialog the keys answer again: with the focus on a button, the space bar would press that. */
function backToPictures() {
  if (document.body.classList.contains("is-playing")) part("question").focus({ preventScroll: true });
}

const openReport = makeReport((side, reason, note) => duel.report(side, reason, note));
const openKeys = () => part("keys-dialog").showModal();
makeMore(duel, {
  share: (side) => share(session, urlOf(duel.model.round[side]), tell).then(backToPictures),
  report: openReport,
  zoom: () => {
    zoom.toggle();
    backToPictures();
  },
  next: () => duel.next().then(backToPictures),
  tour: takeTour,
  keys: openKeys,
});
part("reveal").addEventListener("click", (event) => {
  const button = event.target.closest("#share-winner");
  if (button) share(session, button.dataset.url, (text) => (button.textContent = text));
});

part("keys-open").addEventListener("click", openKeys);
part("keys-on").checked = keysAreOn();
part("keys-on").addEventListener("change", (event) => switchKeys(event.target.checked));
for (const dialog of document.querySelectorAll("dialog")) {
  dialog.querySelector("[data-close]")?.addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", backToPictures);
}

show(duel.model);
duel.resume();
// Where a keyboard is at hand, one can write at once; on a phone it would cover the page.
if (duel.model.state === "compose" && !gate && matchMedia("(pointer: fine)").matches) part("prompt").focus();

if (kind === "account" || kind === "guest") {
  readMe()
    .then(({ score }) => {
      part("score").hidden = !Number.isFinite(score);
      part("score-number").textContent = score;
    })
    .catch(() => {});
}
