// What is on screen, made from the model. The markup is in duel.html; this fills it and shows its parts.

import { showReveal } from "./reveal.js";

const SIDES = ["left", "right"];
const part = (id) => document.getElementById(id);
const calm = matchMedia("(prefers-reduced-motion: reduce)");

let shown = { state: "compose", round: null };
let lastSaid = "";

export function render(model) {
  const before = shown;
  shown = model;
  const { state } = model;
  const writing = state === "compose" || state === "revealed";

  if (document.body.dataset.state !== state) document.body.dataset.state = state;
  document.body.classList.toggle("is-playing", !writing);
  part("compose").hidden = !writing;
  part("reveal").hidden = state !== "revealed";
  part("stage").hidden = writing;
  part("bar").hidden = writing;

  renderLabel(model.prompt);
  renderTally(model.picksBefore + model.picks);
  renderProblem(model);
  part("go").setAttribute("aria-disabled", String(model.busy));
  renderNotice(model.notice);
  if (!writing) {
    renderPair(model, before);
    renderBar(model);
  }
  if (state === "revealed" && before.state !== "revealed") {
    part("compose-title").textContent = "What would you like to see next?";
    showReveal(part("reveal"), model);
  }
  moveFocus(state, before.state);
  say(sentence(model, before));
}

function renderLabel(prompt) {
  const label = part("label");
  if (label.title === prompt) return;
  label.title = prompt;
  label.replaceChildren(...promptParts(prompt));
}

/** The prompt with its [negative] parts set apart. */
function promptParts(prompt) {
  return prompt.split(/(\[[^[\]]*\])/).map((text) => {
    if (!/^\[.*\]$/s.test(text)) return text;
    const negative = document.createElement("span");
    negative.className = "negative";
    negative.textContent = text;
    return negative;
  });
}

function renderTally(picks) {
  part("tally").hidden = picks === 0;
  part("tally-count").textContent = picks;
  part("tally-word").textContent = picks === 1 ? "pick" : "picks";
}

function renderProblem({ problem }) {
  const line = part("prompt-problem");
  if (line.textContent === problem) return;
  line.textContent = problem;
  if (problem && !isTouch()) part("prompt").focus({ preventScroll: true });
  part("prompt").setAttribute("aria-invalid", String(problem !== ""));
}

const isTouch = () => matchMedia("(pointer: coarse)").matches;

function renderNotice(text) {
  const notice = part("notice");
  notice.hidden = text === "";
  if (notice.textContent !== text) notice.textContent = text;
}

function renderPair({ state, round, answer, prompt }, before) {
  const pair = part("pair");
  pair.classList.toggle("is-empty", round === null);
  pair.setAttribute("aria-busy", String(state !== "compare"));
  if (round !== before.round) place(round, prompt, before);
  const picked = SIDES.includes(answer) ? answer : null;
  for (const side of SIDES) {
    const button = part(side);
    if (round) button.removeAttribute("aria-label");
    else button.setAttribute("aria-label", `${side} image, not made yet`);
    button.setAttribute("aria-disabled", String(state !== "compare"));
    button.classList.toggle("is-picked", picked === side || answer === "tie");
    button.classList.toggle("is-passed", (picked !== null && picked !== side) || answer === "skip");
    button.classList.toggle("is-waiting", state === "waiting" && picked !== side);
  }
}

/** Put the two decoded images up; the one that stays glides to its new place. */
function place(round, prompt, before) {
  const pair = part("pair");
  const old = before.round;
  const from = new Map();
  for (const side of old && !calm.matches ? SIDES : []) {
    const image = old[side];
    if (image.isConnected) from.set(image, image.getBoundingClientRect());
  }
  for (const side of SIDES) {
    const frame = part(side).querySelector(".frame");
    const image = round?.[side];
    if (!image) {
      frame.replaceChildren();
      continue;
    }
    image.alt = `${side} image for: ${prompt}`;
    frame.replaceChildren(image);
  }
  pair.dataset.round = round?.id ?? "";
  if (!round) return;
  pair.style.setProperty("--ratio", ratioOf(round));
  for (const side of calm.matches ? [] : SIDES) enter(round[side], from.get(round[side]));
}

function enter(image, was) {
  if (!was) {
    image.animate([{ opacity: 0.35 }, { opacity: 1 }], { duration: 140, easing: "ease-out" });
    return;
  }
  const is = image.getBoundingClientRect();
  const [dx, dy] = [was.left - is.left, was.top - is.top];
  if (!dx && !dy) return;
  image.parentElement.classList.add("is-gliding");
  const glide = image.animate([{ transform: `translate(${dx}px, ${dy}px)` }, { transform: "none" }], {
    duration: 180,
    easing: "cubic-bezier(.2, .8, .2, 1)",
  });
  glide.onfinish = glide.oncancel = () => image.parentElement?.classList.remove("is-gliding");
}

// One shape for both frames, so that neither picture is shown larger.
function ratioOf({ left, right }) {
  const ratio = Math.max(left.naturalWidth / left.naturalHeight, right.naturalWidth / right.naturalHeight);
  return Math.min(2.4, Math.max(0.4, ratio || 1)).toFixed(4);
}

function renderBar({ state, undoable, wait, answer }) {
  const waiting = state === "generating" || state === "waiting";
  part("progress").hidden = !waiting;
  part("cancel").hidden = state !== "generating";
  part("undo").hidden = state === "generating";
  part("tie").hidden = part("skip").hidden = waiting;
  part("finish").disabled = state === "generating" || answer === "finish";
  part("undo").setAttribute("aria-disabled", String(undoable === null || !["compare", "waiting"].includes(state)));
  for (const id of ["tie", "skip"]) {
    part(id).setAttribute("aria-disabled", String(state !== "compare"));
    part(id).classList.toggle("is-sent", state === "answered" && answer === id);
  }
  if (!waiting) return;
  part("progress-text").textContent = waitText(state, wait ?? {});
  const bar = part("progress-bar");
  if (Number.isFinite(wait?.progress) && wait.progress > 0) bar.value = wait.progress;
  else bar.removeAttribute("value");
}

function waitText(state, { state: step, position, eta }) {
  const what = state === "waiting" ? "Making the next picture" : "Making your two pictures";
  const time = Number.isFinite(eta) && eta >= 2 ? `, about ${Math.round(eta)} s` : "";
  if (step === "queued" && position > 1) return `${ordinal(position)} in line${time}`;
  return what + time;
}

function ordinal(count) {
  const teens = count % 100 > 10 && count % 100 < 14;
  return `${count}${(teens ? "" : ["", "st", "nd", "rd"][count % 10]) || "th"}`;
}

function moveFocus(state, before) {
  if (state === before) return;
  if (state === "generating" || (state === "compare" && before === "generating")) {
    part("question").focus({ preventScroll: true });
  } else if (state === "compose" || state === "revealed") {
    // On a touch screen a focus would bring up the keyboard over the words just shown.
    if (isTouch()) part("main").focus({ preventScroll: true });
    else part("prompt").focus({ preventScroll: true });
    scrollTo(0, 0);
  }
}

function sentence({ state, answer, wait, round, result }, before) {
  if (state === "generating" || state === "waiting") return waitText(state, wait ?? {});
  if (state === "compare" && round !== before.round) return "Two pictures. Which one is better?";
  if (state === "answered" && before.state !== "answered") {
    return { left: "Left picked.", right: "Right picked.", tie: "About the same.", skip: "Skipped." }[answer] ?? "";
  }
  if (state === "revealed" && result && before.state !== "revealed") return "The duel has ended. The models are named below.";
  return "";
}

function say(text) {
  if (!text || text === lastSaid) return;
  lastSaid = text;
  part("live").textContent = text;
}
