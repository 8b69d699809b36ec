// What is on screen, made from the model. The markup is in duel.html; this fills it and shows its parts.

import { t, tn } from "../language.js";
import { renderBar, waitText } from "./bar.js";
import { renderGate } from "./gate.js";
import { marked } from "./negatives.js";
import { renderPair } from "./pair.js";
import { countDown } from "./problems.js";
import { showReveal } from "./reveal.js";
import { answerWords } from "./sides.js";

const part = (id) => document.getElementById(id);
const isTouch = () => matchMedia("(pointer: coarse)").matches;

let shown = { state: "compose", round: null, problem: null, notice: null, gate: undefined };
let lastSaid = "";

const STORED = new Set(["left", "right", "tie"]);

export function render(model) {
  const before = shown;
  shown = model;
  const { state } = model;
  const writing = state === "compose" || state === "revealed";

  if (document.body.dataset.state !== state) document.body.dataset.state = state;
  document.body.classList.toggle("is-playing", !writing);
  part("compose").hidden = !writing;
  part("reveal").hidden = state !== "revealed";
  part("stage").hidden = part("bar").hidden = writing;

  renderLabel(model.round?.prompt ?? model.prompt);
  renderTally(model.picksBefore + model.picks);
  renderGate(model.gate);
  part("go").setAttribute("aria-disabled", String(model.busy));
  part("auto-compose").checked = model.auto;
  if (model.problem !== before.problem) renderProblem(model.problem);
  if (model.notice !== before.notice) renderNotice(model.notice);
  if (!writing) {
    renderPair(model, before);
    renderBar(model);
  }
  if (state === "revealed" && before.state !== "revealed") {
    part("compose-title").textContent = t("What would you like to see next?");
    showReveal(part("reveal"), model.results);
  }
  moveFocus(model, before);
  say(sentence(model, before));
}

function renderLabel(prompt) {
  const label = part("label");
  if (label.title === prompt) return;
  label.title = prompt;
  label.replaceChildren(...marked(prompt));
}

function renderTally(picks) {
  part("tally").hidden = picks === 0;
  part("tally-count").textContent = picks;
  part("tally-word").textContent = tn("pick", "picks", picks);
}

let stopPromptClock = () => {};
let stopNoticeClock = () => {};

function renderProblem(problem) {
  const line = part("prompt-problem");
  stopPromptClock();
  part("prompt-clock").textContent = "";
  line.textContent = problem?.text ?? "";
  line.classList.toggle("is-review", problem?.kind === "review");
  part("prompt").setAttribute("aria-invalid", String(problem?.kind === "error"));
  if (!problem) return;
  if (problem.retryAt) stopPromptClock = countDown(part("prompt-clock"), problem.retryAt, () => renderProblem(null));
  if (!isTouch()) part("prompt").focus({ preventScroll: true });
}

function renderNotice(notice) {
  stopNoticeClock();
  part("notice").hidden = notice === null;
  part("notice-text").textContent = notice?.text ?? "";
  part("notice-clock").textContent = "";
  if (notice?.retryAt) stopNoticeClock = countDown(part("notice-clock"), notice.retryAt, () => renderNotice(null));
}

/** A word about something that has just been done, over the pictures. */
export function tell(text) {
  renderNotice({ text, retryAt: 0 });
  const clock = setTimeout(() => renderNotice(null), 4000);
  stopNoticeClock = () => clearTimeout(clock);
}

function moveFocus({ state, gate }, before) {
  if (state === before.state && (gate === before.gate || before.gate === undefined)) return;
  if (state === "generating" || (state === "compare" && before.state === "generating")) {
    part("question").focus({ preventScroll: true });
  } else if (state === "compose" || state === "revealed") {
    // On a touch screen a focus would bring up the keyboard over the words just shown.
    const first = isTouch() ? "main" : "prompt";
    part(gate ? "gate" : first).focus({ preventScroll: true });
    scrollTo(0, 0);
  }
}

function sentence({ state, answer, wait, round, results }, before) {
  if (state === "generating" || state === "waiting") return waitText(state, wait ?? {});
  if (state === "compare" && round !== before.round) {
    if (STORED.has(before.answer)) return t("Stored. Which of these two is better?");
    return t("Two pictures. Which one is better?");
  }
  if (state === "answered" && before.state !== "answered") return answerWords(answer);
  if (state === "revealed" && results.length && before.state !== "revealed") {
    return t("The duel has ended. The models are named below.");
  }
  return "";
}

/** Say something to those who do not see the page. */
export function say(text) {
  if (!text || text === lastSaid) return;
  lastSaid = text;
  part("live").textContent = text;
}
