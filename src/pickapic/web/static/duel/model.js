// What the page knows at a moment, and which state may follow which.

import { recall, remember } from "./memory.js";

const PASSES = {
  compose: ["generating"],
  generating: ["compare", "compose", "revealed"],
  compare: ["answered", "revealed", "compose", "generating"],
  answered: ["compare", "waiting", "revealed", "compose", "generating"],
  waiting: ["compare", "answered", "revealed", "compose", "generating"],
  revealed: ["generating"],
};

// Nobody judges two pictures in this time: it is the second half of a double click.
const SETTLE_MS = 200;

export const NO_DUEL = {
  duelId: null,
  round: null, // {id, prompt, at, left, right}: decoded images, on screen since `at`
  answer: null, // what was answered and is on its way; "finish" and "next" while the duel is being left
  wait: null, // {state, position, eta, progress}
  notice: null, // a problem, over the pictures
  picks: 0, // in this duel, as the server counts them
  undoable: null, // the round whose answer undo takes back
  results: [], // revealed duels
};

export class Model {
  #changed;

  /** `first` are facts to begin with; `changed` is called with all at every change. They are never altered. */
  constructor(first, changed) {
    const { prompt = "", picksBefore = 0 } = recall();
    this.#changed = changed;
    this.now = {
      ...NO_DUEL,
      state: "compose",
      prompt,
      problem: null, // beside the prompt box
      busy: false, // the prompt is on its way
      gate: null, // what stands in the place of the prompt box, {kind, message}
      auto: false,
      picksBefore, // in the earlier duels of this visit
      ...first,
    };
  }

  get picksSoFar() {
    return this.now.picksBefore + this.now.picks;
  }

  may(state) {
    return state === this.now.state || PASSES[this.now.state].includes(state);
  }

  /** Whether an answer would be taken now: left, right, tie, skip, undo. */
  takes(answer) {
    const { state, round, undoable, answer: sent } = this.now;
    if (sent !== null && state === "compare") return false; // the duel is being left
    if (answer === "undo") return undoable !== null && (state === "compare" || state === "waiting");
    return state === "compare" && performance.now() - round.at >= SETTLE_MS;
  }

  go(state, facts) {
    if (!this.may(state)) throw new Error(`No way from ${this.now.state} to ${state}`);
    this.set({ ...facts, state });
  }

  set(facts) {
    this.now = { ...this.now, ...facts };
    const { duelId, prompt, picksBefore, auto } = this.now;
    remember({ duelId, prompt, picksBefore, auto });
    this.#changed(this.now);
  }
}
