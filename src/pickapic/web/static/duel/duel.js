// The duel as a state machine. The server's word is the truth; this only keeps the screen in step with it.
//
//   compose -> generating -> compare <-> answered -> waiting -> compare ...
//   any of them -> revealed (the person ends the duel) -> generating
//   any of them -> compose (an error; the words are kept)
//   in auto mode, any of them -> generating

import * as api from "./api.js";
import { Auto, ROUNDS } from "./auto.js";
import { recall } from "./memory.js";
import { Model, NO_DUEL } from "./model.js";
import { persist } from "./patience.js";
import { fetchAhead } from "./pictures.js";
import { gateOf, problem, problemOf, words } from "./problems.js";
import { bring, send, urlOf, waitOf } from "./rounds.js";
import { roll } from "./starters.js";
import { Watch } from "./watch.js";

export class Duel {
  #model;
  #session;
  #freePicks;
  #auto;
  #watch = new Watch();
  #showing = ""; // the round on screen, or on its way there

  /** `gate` is what stands in the way at the start, or null; `freePicks` is how many rounds a visitor has. */
  constructor({ session, gate, freePicks, onChange }) {
    this.#session = session;
    this.#freePicks = freePicks;
    this.#auto = new Auto({
      start: (prompt) => session.run(() => api.startDuel(prompt)),
      read: (duelId) => session.run(() => api.readDuel(duelId)),
      end: (duelId) => session.run(() => api.endDuel(duelId)),
      roll,
    });
    this.#auto.on = !session.isTrying && recall().auto === true;
    this.#model = new Model({ gate, auto: this.#auto.on }, onChange);
  }

  get model() {
    return this.#model.now;
  }

  // What a person does.

  async start(prompt) {
    if (this.model.busy || !this.#model.may("generating")) return;
    if (!prompt.trim()) {
      this.#model.set({ prompt, problem: problem(words.empty()) });
      return;
    }
    const visit = this.#watch.leave();
    this.#model.set({ prompt, problem: null, busy: true });
    try {
      const duel = await this.#session.runSignedIn(() => api.startDuel(prompt), prompt);
      this.#model.go("generating", { ...NO_DUEL, duelId: duel.duel_id, wait: {}, busy: false });
      this.#receive(duel, visit);
    } catch (error) {
      const gate = gateOf(error);
      this.#model.set({ busy: false, gate: gate ?? this.model.gate, problem: gate ? null : problemOf(error) });
    }
  }

  /** Take up the duel that a reload interrupted. */
  async resume() {
    const { duelId, prompt } = recall();
    if (!duelId) return;
    const visit = this.#watch.leave();
    this.#model.go("generating", { ...NO_DUEL, duelId, prompt, problem: null, wait: {} });
    try {
      this.#receive(await this.#persist(() => api.readDuel(duelId), visit), visit);
    } catch (error) {
      if (visit !== this.#watch.visit) return;
      // Not ours, or swept away: no drama, the words are still there.
      const gone = error instanceof api.Refusal && [401, 403, 404].includes(error.status);
      if (gone && error.status === 401) this.#session.lose();
      this.#fail(gone ? null : problemOf(error));
    }
  }

  takes(answer) {
    return this.#model.takes(answer);
  }

  /** Answer the round on screen, or undo the one before. */
  async answer(answer) {
    if (!this.takes(answer)) return;
    const { state, round, undoable, wait, picks } = this.model;
    const visit = this.#watch.visit;
    const roundId = answer === "undo" ? undoable : round.id;
    this.#watch.rest();
    this.#model.go("answered", { answer, notice: null });
    if (picks + 1 >= ROUNDS) this.#auto.look();
    try {
      const reply = await this.#persist(() => send(answer, roundId, round), visit);
      await this.#goOn(reply, visit);
    } catch (error) {
      if (visit !== this.#watch.visit || (await this.#resync(error, visit))) return;
      this.#model.go(state, { answer: null, wait, notice: problemOf(error) });
      if (state === "waiting") this.#follow(visit);
    }
  }

  /** Report a picture of the round on screen, and go on without it. */
  async report(side, reason, note) {
    const { round } = this.model;
    const visit = this.#watch.visit;
    await this.#session.run(() => api.report(urlOf(round[side]), reason, note));
    if (visit !== this.#watch.visit || this.model.round !== round) return;
    this.#model.go("answered", { answer: "skip", notice: null });
    try {
      let duel = await this.#persist(() => api.readDuel(this.model.duelId), visit);
      if (duel.round?.round_id === round.id) duel = await this.#persist(() => api.skip(round.id), visit);
      this.#receive(duel, visit, problem(words.reported()));
    } catch (error) {
      if (visit === this.#watch.visit) await this.#lost(error);
    }
  }

  /** End the duel: the models are named. `gate` then stands in the place of the prompt box. */
  async finish(gate = this.model.gate) {
    const { duelId, answer } = this.model;
    if (!this.#model.may("revealed") || !duelId) return;
    const visit = this.#watch.leave();
    this.#model.set({ answer: answer ?? "finish", notice: null });
    try {
      const last = await this.#persist(() => api.endDuel(duelId), visit);
      const before = await this.#auto.finish();
      if (visit === this.#watch.visit) this.#reveal([...before, last], gate);
    } catch (error) {
      if (visit === this.#watch.visit) this.#fail(problemOf(error), gate);
    }
  }

  /** Stop waiting for the first two pictures. */
  cancel() {
    this.#auto.finish();
    if (this.model.duelId) api.endDuel(this.model.duelId).catch(() => {});
    this.#fail(null);
  }

  switchAuto(on) {
    this.#auto.on = on;
    this.#auto.prepare(this.model.picks);
    this.#model.set({ auto: on });
  }

  /** In auto mode: on to the next prompt now. */
  async next() {
    if (!this.takes("skip")) return;
    const visit = this.#watch.visit;
    this.#model.set({ answer: "next", notice: null });
    const moved = await this.#moveOn(visit);
    if (!moved && visit === this.#watch.visit) this.#model.set({ answer: null, notice: problem(words.noNext()) });
  }

  // What the server says.

  async #goOn(reply, visit) {
    if (visit !== this.#watch.visit || !reply) return;
    this.#model.set({ picks: reply.picks });
    if (this.#session.isTrying && reply.picks >= this.#freePicks) {
      await this.finish({ kind: "sign_in", message: "" });
      return;
    }
    this.#auto.prepare(reply.picks);
    const isDue = this.model.answer !== "undo" && this.#auto.isDue(reply.picks);
    if (!isDue || !(await this.#moveOn(visit))) this.#receive(reply, visit);
  }

  /** To the next prompt of auto mode; false where it cannot be had. */
  async #moveOn(visit) {
    let next;
    try {
      next = await this.#auto.take();
    } catch (error) {
      problemOf(error); // only what the server or the network is to blame for
      return false;
    }
    const { duel, prompt } = next;
    this.#auto.leave(visit === this.#watch.visit ? this.model.duelId : duel.duel_id);
    if (visit !== this.#watch.visit) return true;
    const facts = { ...NO_DUEL, duelId: duel.duel_id, prompt, picksBefore: this.#model.picksSoFar };
    const { round, answer } = this.model;
    const present = this.#watch.leave();
    // The last two pictures stay until the next two are here.
    if (duel.round) this.#model.set({ ...facts, round, answer });
    else this.#model.go("generating", facts);
    this.#receive(duel, present);
    return true;
  }

  #receive(duel, visit, notice = null) {
    if (visit !== this.#watch.visit || !duel) return;
    this.#model.set({ picks: duel.picks, undoable: duel.undo_round_id });
    if (duel.round) {
      this.#watch.rest();
      this.#showing = duel.round.round_id;
      if (!fetchAhead(duel.round)) this.#follow(visit);
      this.#present(duel, visit, notice);
    } else if (duel.state === "failed") {
      this.#fail(problem(duel.reason || words.notMade()));
    } else if (duel.state === "closed") {
      this.#reveal([duel]);
    } else {
      if (this.model.state === "answered") this.#model.go("waiting", { wait: waitOf(duel), notice });
      else this.#model.set({ wait: waitOf(duel) });
      this.#follow(visit);
    }
  }

  #follow(visit) {
    this.#watch.follow(
      this.model.duelId,
      (duel) => this.#receiveEvent(duel, visit),
      (error) => this.#lost(error),
    );
  }

  #receiveEvent(duel, visit) {
    if (duel.round && duel.round.round_id === this.#showing) {
      // The round on screen; the stream was only kept for the picture after it.
      if (fetchAhead(duel.round)) this.#watch.rest();
    } else if (duel.round || duel.state === "failed" || duel.state === "closed") {
      this.#receive(duel, visit);
    } else {
      this.#model.set({ wait: waitOf(duel) });
    }
  }

  async #present({ round, prompt }, visit, notice) {
    const isWanted = () => visit === this.#watch.visit;
    const pair = await bring(round, isWanted, () => this.#model.set({ notice: problem(words.tryingAgain()) }));
    if (!isWanted()) return;
    if (!pair) {
      this.#fail(problem(words.notArrived()));
      return;
    }
    // The words that these two were made for: a round may have its own.
    const shown = { id: round.round_id, prompt: round.prompt ?? prompt, at: performance.now(), ...pair };
    this.#model.go("compare", { round: shown, answer: null, wait: null, notice });
  }

  // When something is wrong.

  #persist(action, visit) {
    return persist(
      () => this.#session.run(action),
      () => visit === this.#watch.visit,
      (isLost) => this.#model.set({ notice: isLost ? problem(words.noConnection()) : null }),
    );
  }

  /** After a refused answer: is the screen still what the server has? True if the screen was set anew. */
  async #resync(error, visit) {
    const gate = gateOf(error);
    // Who tried it without signing in still learns which model made what.
    if (gate?.kind === "sign_in") await this.finish(gate);
    else if (gate) this.#fail(null, gate);
    else if (error.status === 401) await this.#lost(error);
    else if (error.status === 404 || error.status === 409) await this.#catchUp(visit);
    else return false;
    return true;
  }

  /** Show what the server has. */
  async #catchUp(visit) {
    try {
      const duel = await this.#persist(() => api.readDuel(this.model.duelId), visit);
      this.#receive(duel, visit, problem(words.elsewhere()));
    } catch (error) {
      if (visit === this.#watch.visit) await this.#lost(error);
    }
  }

  async #lost(error) {
    if (error.status !== 401) {
      this.#fail(problem(words.duelGone()));
      return;
    }
    this.#session.lose();
    if (!this.#session.allowsGuests) {
      this.#fail(null, { kind: "sign_in", message: words.signInAgain() });
      return;
    }
    this.#fail(problem(words.newGuest()));
    await this.#session.signIn().catch(() => {});
  }

  #reveal(results, gate = this.model.gate) {
    this.#watch.leave();
    this.#model.go("revealed", { ...NO_DUEL, picksBefore: this.#model.picksSoFar, results, problem: null, gate });
  }

  #fail(problem, gate = this.model.gate) {
    this.#watch.leave();
    this.#model.go("compose", { ...NO_DUEL, picksBefore: this.#model.picksSoFar, problem, gate });
  }
}
