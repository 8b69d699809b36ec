// Auto mode: prompts come by themselves, for people who just like to pick. The next prompt is started a few
// rounds before it is needed, so that its first pictures are there in time.

import { fetchAhead, load } from "./pictures.js";

/** Rounds that are answered before the next prompt comes. */
export const ROUNDS = 12;
const AHEAD = 4;

export class Auto {
  #start;
  #read;
  #end;
  #roll;
  #next = null; // promise of {prompt, duelId}, or of null where it could not be started
  #seen = null; // promise of that duel as it is when it is needed
  #ended = []; // promises of the revealed duels of this run

  /** `start(prompt)`, `read(duelId)` and `end(duelId)` resolve to a duel; `roll()` is a prompt. */
  constructor({ start, read, end, roll }) {
    this.on = false;
    this.#start = start;
    this.#read = read;
    this.#end = end;
    this.#roll = roll;
  }

  isDue(picks) {
    return this.on && picks >= ROUNDS;
  }

  /** After an answer: is it time to start the next prompt? */
  prepare(picks) {
    if (this.on && picks >= ROUNDS - AHEAD) this.#next ??= this.#begin();
  }

  /** The last answer is on its way: have a look at what comes then. */
  look() {
    if (!this.#next) return;
    this.#seen ??= this.#next
      .then((next) => next && this.#read(next.duelId))
      .then((duel) => {
        if (duel?.round) for (const { url } of duel.round.images) load(url).catch(() => {});
        if (duel?.round) fetchAhead(duel.round);
        return duel;
      })
      .catch(() => null);
  }

  /** The next prompt and its duel, `{prompt, duel}`. Rejects where it cannot be had. */
  async take() {
    const next = (await this.#next) ?? (await this.#startOne());
    const duel = (await this.#seen) ?? (await this.#read(next.duelId));
    this.#next = this.#seen = null;
    return { prompt: next.prompt, duel };
  }

  /** End a duel without waiting for it. */
  leave(duelId) {
    this.#ended.push(this.#end(duelId).catch(() => null));
  }

  /** The run is over: what was started ahead is taken back. Resolves to the revealed duels, the first first. */
  async finish() {
    const next = this.#next;
    this.#next = this.#seen = null;
    next?.then((started) => started && this.#end(started.duelId)).catch(() => {});
    const ended = await Promise.all(this.#ended);
    this.#ended = [];
    return ended.filter(Boolean);
  }

  #begin() {
    return this.#startOne().catch(() => {
      this.#next = null;
      return null;
    });
  }

  async #startOne() {
    const prompt = this.#roll();
    const { duel_id: duelId } = await this.#start(prompt);
    return { prompt, duelId };
  }
}
