// The bar under the pictures: what can be answered now, or how far the pictures are.

import { t, tn } from "../language.js";

const part = (id) => document.getElementById(id);

export function renderBar({ state, undoable, wait, answer, auto }) {
  const waiting = state === "generating" || state === "waiting";
  part("progress").hidden = !waiting;
  part("cancel").hidden = state !== "generating";
  part("undo").hidden = state === "generating";
  part("tie").hidden = part("skip").hidden = waiting;
  part("finish").disabled = state === "generating" || answer === "finish";
  part("finish-word").textContent = auto ? t("Stop") : t("New prompt");
  part("finish-short").textContent = auto ? t("Stop") : t("New");
  part("auto-stage").setAttribute("aria-pressed", String(auto));
  part("undo").setAttribute("aria-disabled", String(undoable === null || !["compare", "waiting"].includes(state)));
  for (const id of ["tie", "skip"]) {
    part(id).setAttribute("aria-disabled", String(state !== "compare"));
    part(id).classList.toggle("is-sent", state === "answered" && answer === id);
  }
  for (const id of ["zoom", "more"]) part(id).disabled = waiting;
  if (!waiting) return;
  part("progress-text").textContent = waitText(state, wait ?? {});
  const bar = part("progress-bar");
  if (Number.isFinite(wait?.progress) && wait.progress > 0) bar.value = wait.progress;
  else bar.removeAttribute("value");
}

/** What is waited for, and for how long; `position` is the place in the queue. */
export function waitText(state, { state: step, position, eta }) {
  const seconds = Number.isFinite(eta) ? Math.round(eta) : 0;
  if (step === "queued" && position > 1) {
    const ahead = position - 1;
    const line = tn("{n} picture is made before yours", "{n} pictures are made before yours", ahead);
    return seconds < 2 ? line : t("{line}, about {seconds} s", { line, seconds });
  }
  if (state === "waiting") {
    return seconds < 2 ? t("Making the next picture") : t("Making the next picture, about {seconds} s", { seconds });
  }
  return seconds < 2 ? t("Making your two pictures") : t("Making your two pictures, about {seconds} s", { seconds });
}
