// Which duel is on screen, and hearing of it while its pictures are made.

import { followDuel } from "./api.js";

export class Watch {
  #visit = 0; // raised when a duel is left: a late answer to an earlier one is dropped
  #stop = () => {};

  /** The number of the present visit; compare it after a wait. */
  get visit() {
    return this.#visit;
  }

  /** The duel on screen is left; returns the number of the visit that begins. */
  leave() {
    this.rest();
    this.#visit += 1;
    return this.#visit;
  }

  /** Hear of a duel's changes, until it is left or there is no need. */
  follow(duelId, onState, onGone) {
    this.rest();
    this.#stop = followDuel(duelId, onState, onGone);
  }

  /** There is nothing to wait for. */
  rest() {
    this.#stop();
    this.#stop = () => {};
  }
}
