// What went wrong, in words; and when it is worth trying again.

import { t, tn } from "../language.js";
import { NoAnswer, Refusal } from "./api.js";

/** What the page itself has to say. */
export const words = {
  empty: () => t("The prompt is empty: write what the pictures should show."),
  notMade: () => t("These pictures could not be made. Try again, or change a word."),
  tryingAgain: () => t("A picture did not arrive. Trying again."),
  notArrived: () => t("The pictures did not arrive. Your picks are kept; try the prompt again."),
  noConnection: () => t("No connection. Nothing is lost: it goes on by itself when the connection is back."),
  noAnswer: () => t("No connection to the server. Nothing is lost: try again in a moment."),
  tooLong: () => t("That is far too long for a prompt. It is still in the box: shorten it and try again."),
  elsewhere: () => t("This round was answered already, maybe in another window."),
  duelGone: () => t("This duel is no longer open. Your picks are kept, and so are your words."),
  newGuest: () => t("Your session was lost. Your picks are kept. Go again with the same words, as a new guest."),
  signInAgain: () => t("Your session was lost. Your picks are kept, and so are your words. Please sign in again."),
  noNext: () => t("The next prompt cannot be had just now. This one goes on."),
  reported: () => t("Thank you. A moderator will look at it, and you will not see it again."),
};

/** Refusals that end picking for now: the page shows a panel instead of the prompt box. */
const GATES = new Set(["sign_in", "banned"]);

/** `{text, retryAt, kind}`: `retryAt` in ms since 1970, 0 if there is no time to wait; `kind` is error or review. */
export function problem(text, retryAt = 0, kind = "error") {
  return { text, retryAt, kind };
}

/** The problem that an error is. What is neither a refusal nor a lost connection is a fault of ours: it is thrown. */
export function problemOf(error) {
  if (error instanceof NoAnswer) return problem(words.noAnswer());
  if (!(error instanceof Refusal)) throw error;
  if (error.status === 413) return problem(words.tooLong());
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
