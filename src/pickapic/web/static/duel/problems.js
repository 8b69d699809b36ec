// What went wrong, in words; and when it is worth trying again.

import { t, tn } from "../language.js";
import { NoAnswer, Refusal } from "./api.js";

/** Refusals that end picking for now: the page shows a panel instead of the prompt box. */
const GATES = new Set(["sign_in", "banned"]);

/** `{text, retryAt, kind}`: `retryAt` in ms since 1970, 0 if there is no time to wait; `kind` is error or review. */
export function problem(text, retryAt = 0, kind = "error") {
  return { text, retryAt, kind };
}

/** The problem that an error is. What is neither a refusal nor a lost connection is a fault of ours: it is thrown. */
export function problemOf(error) {
  if (error instanceof NoAnswer) {
    return problem(t("No connection to the server. Nothing is lost: try again in a moment."));
  }
  if (!(error instanceof Refusal)) throw error;
  if (error.status === 413) {
    return problem(t("That is far too long for a prompt. It is still in the box: shorten it and try again."));
  }
  if (error.status === 429 && error.retryAfter) {
    return problem(error.reason, Date.now() + error.retryAfter * 1000);
  }
  if (error.code === "review") return problem(error.reason, 0, "review");
  return problem(error.reason);
}

/** The panel that a refusal calls for, `{kind, message}`, or null. */
export function gateOf(error) {
  if (!(error instanceof Refusal) || !GATES.has(error.code)) return null;
  return { kind: error.code, message: error.reason };
}

/** Show in `element` how long is left until `retryAt`, second by second; returns how to stop. */
export function countDown(element, retryAt, onOver) {
  let timer = 0;
  const tick = () => {
    const seconds = Math.ceil((retryAt - Date.now()) / 1000);
    if (seconds <= 0) {
      element.textContent = "";
      onOver();
      return;
    }
    element.textContent = t("Try again in {time}.", { time: duration(seconds) });
    timer = setTimeout(tick, seconds > 90 ? 10_000 : 1000);
  };
  tick();
  return () => clearTimeout(timer);
}

function duration(seconds) {
  if (seconds < 90) return t("{n} s", { n: seconds });
  if (seconds < 90 * 60) return tn("{n} minute", "{n} minutes", Math.ceil(seconds / 60));
  if (seconds < 36 * 3600) return tn("{n} hour", "{n} hours", Math.ceil(seconds / 3600));
  return tn("{n} day", "{n} days", Math.ceil(seconds / 86_400));
}
