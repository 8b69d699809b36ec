// The duel as a state machine. The server's word is the truth; this only keeps the screen in step with it.
//
//   compose -> generating -> compare <-> answered -> waiting -> compare ...
//   any of them -> revealed (the person ends the duel) -> generating
//   any of them -> compose (an error; the words are kept)

import * as api from "./api.js";
import { recall, remember } from "./memory.js";
import { load } from "./pictures.js";

const PASSES = {
  compose: ["generating"],
  generating: ["compare", "compose", "revealed"],
  compare: ["answered", "revealed", "compose"],
  answered: ["compare", "waiting", "revealed", "compose"],
  waiting: ["compare", "answered", "revealed", "compose"],
  revealed: ["generating"],
};

// Nobody judges two pictures in this time: it is the second half of a double click.
const SETTLE_MS = 200;
const RETRY_MS = [400, 1000, 2000, 4000];
const PICTURE_TRIES = 4;

const NO_DUEL = {
  duelId: null,
  round: null, // {id, left, right}: decoded images
  answer: null, // what was answered and is on its way
  wait: null, // {state, position, eta, progress}
  notice: "", // over the pictures
  picks: 0, // in this duel, as the server counts them
  undoable: null, // the round whose answer undo takes back
  result: null, // the revealed duel
};

export class Duel {
  #changed;
  #unfollow = () => {};
  #visit = 0; // raised when the duel is left: a late answer to an earlier one is dropped
  #showing = ""; // the round on screen, or on its way there
  #shownAt = 0;
  #signedIn;
  #allowGuests;

  constructor({ signedIn, allowGuests, onChange }) {
    const { prompt = "", picksBefore = 0 } = recall();
    this.#signedIn = signedIn;
    this.#allowGuests = allowGuests;
    this.#changed = onChange;
    this.model = {
      ...NO_DUEL,
      state: "compose",
      prompt,
      problem: "", // beside the prompt box
      busy: false, // the prompt is on its way
      picksBefore, // in the earlier duels of this visit
    };
  }

  // What a person does.

  async start(prompt) {
    if (this.model.busy || !PASSES[this.model.state].includes("generating")) return;
    if (!prompt.trim()) {
      this.#set({ prompt, problem: "The prompt is empty: write what the pictures should show." });
      return;
    }
    const visit = this.#leave();
    this.#set({ prompt, problem: "", busy: true });
    try {
      if (!this.#signedIn) await this.#signIn();
      const duel = await this.#withSession(() => api.startDuel(prompt));
      this.#go("generating", { ...NO_DUEL, duelId: duel.duel_id, wait: {}, busy: false });
      this.#receive(duel, visit);
    } catch (error) {
      this.#set({ busy: false, problem: problemOf(error) });
    }
  }

  /** Take up the duel that a reload interrupted. */
  async resume() {
    const { duelId, prompt } = recall();
    if (!duelId) return;
    const visit = this.#leave();
    this.#go("generating", { ...NO_DUEL, duelId, prompt, problem: "", wait: {} });
    try {
      const duel = await this.#persist(() => api.readDuel(duelId), visit);
      this.#receive(duel, visit);
    } catch (error) {
      if (visit !== this.#visit) return;
      // Not ours, or swept away: no drama, the words are still there.
      const gone = error instanceof api.Refusal && [401, 403, 404].includes(error.status);
      if (gone) this.#signedIn = error.status !== 401;
      this.#fail(gone ? "" : problemOf(error));
    }
  }

  /** Answer the round on screen: left, right, tie, skip; or undo the one before. */
  async answer(answer) {
    if (!this.#mayAnswer(answer)) return;
    const { state, round, undoable, wait } = this.model;
    const visit = this.#visit;
    const roundId = answer === "undo" ? undoable : round.id;
    this.#unfollow();
    this.#go("answered", { answer, notice: "" });
    try {
      const reply = await this.#persist(() => send(answer, roundId), visit);
      this.#receive(reply, visit);
    } catch (error) {
      if (visit !== this.#visit) return;
      if (await this.#resync(error, visit)) return;
      this.#go(state, { answer: null, wait, notice: problemOf(error) });
      if (state === "waiting") this.#follow(visit);
    }
  }

  /** End the duel: the models are named. */
  async finish() {
    const { state, duelId } = this.model;
    if (!PASSES[state].includes("revealed") || !duelId) return;
    const visit = this.#leave();
    this.#set({ answer: state === "answered" ? this.model.answer : "finish", notice: "" });
    try {
      const result = await this.#persist(() => api.endDuel(duelId), visit);
      if (visit === this.#visit) this.#reveal(result);
    } catch (error) {
      if (visit === this.#visit) this.#fail(problemOf(error));
    }
  }

  /** Stop waiting for the first two pictures. */
  cancel() {
    const { duelId } = this.model;
    this.#leave();
    if (duelId) api.endDuel(duelId).catch(() => {});
    this.#fail("");
  }

  // What the server says.

  #receive(duel, visit, notice = "") {
    if (visit !== this.#visit || !duel) return;
    this.#set({ picks: duel.picks ?? 0, undoable: duel.undo_round_id ?? null });
    if (duel.round) {
      this.#unfollow();
      this.#showing = duel.round.round_id;
      if (!fetchAhead(duel.round)) this.#follow(visit);
      this.#present(duel.round, visit, notice);
    } else if (duel.state === "failed") {
      this.#fail(duel.reason || "These pictures could not be made. Try again, or change a word.");
    } else if (duel.state === "closed") {
      this.#reveal(duel);
    } else {
      const wait = waitOf(duel);
      if (this.model.state === "answered") this.#go("waiting", { wait });
      else this.#set({ wait });
      this.#follow(visit);
    }
  }

  #follow(visit) {
    this.#unfollow();
    const stop = api.followDuel(
      this.model.duelId,
      (duel) => visit === this.#visit && this.#receiveEvent(duel, visit),
      (error) => visit === this.#visit && this.#lost(error, visit),
    );
    this.#unfollow = () => {
      stop();
      this.#unfollow = () => {};
    };
  }

  #receiveEvent(duel, visit) {
    if (duel.round && duel.round.round_id === this.#showing) {
      // The round on screen; the stream was only kept for the picture after it.
      if (fetchAhead(duel.round)) this.#unfollow();
      return;
    }
    if (duel.round || duel.state === "failed" || duel.state === "closed") {
      this.#unfollow();
      this.#receive(duel, visit);
      return;
    }
    this.#set({ wait: waitOf(duel) });
  }

  async #present(round, visit, notice) {
    const url = Object.fromEntries(round.images.map((image) => [image.side, image.url]));
    for (let attempt = 1; ; attempt += 1) {
      try {
        const [left, right] = await Promise.all([load(url.left), load(url.right)]);
        if (visit !== this.#visit) return;
        this.#shownAt = performance.now();
        this.#go("compare", { round: { id: round.round_id, left, right }, answer: null, wait: null, notice });
        return;
      } catch {
        if (visit !== this.#visit) return;
        if (attempt === PICTURE_TRIES) {
          this.#fail("The pictures did not arrive. Your picks are kept; try the prompt again.");
          return;
        }
        this.#set({ notice: "A picture did not arrive. Trying again." });
        await pause(RETRY_MS[attempt]);
      }
    }
  }

  // When something is wrong.

  /** Do it until the server has answered; a lost connection is waited out and told. */
  async #persist(action, visit) {
    for (let attempt = 0; ; attempt += 1) {
      try {
        const reply = await this.#withCsrf(action);
        if (attempt && visit === this.#visit) this.#set({ notice: "" });
        return reply;
      } catch (error) {
        if (!(error instanceof api.NoAnswer) || visit !== this.#visit) throw error;
        this.#set({ notice: "No connection. Nothing is lost: it goes on by itself when the connection is back." });
        await pause(RETRY_MS[Math.min(attempt, RETRY_MS.length - 1)]);
        if (visit !== this.#visit) throw error;
      }
    }
  }

  async #withCsrf(action) {
    try {
      return await action();
    } catch (error) {
      if (!(error instanceof api.Refusal) || error.status !== 403) throw error;
      return action(); // the refusal itself brought a fresh token
    }
  }

  async #withSession(action) {
    try {
      return await this.#withCsrf(action);
    } catch (error) {
      if (!(error instanceof api.Refusal) || error.status !== 401) throw error;
      await this.#signIn();
      return action();
    }
  }

  async #signIn() {
    if (!this.#allowGuests) throw new api.Refusal(401, "Please sign in first.", 0);
    await this.#withCsrf(api.signInAsGuest);
    this.#signedIn = true;
  }

  /** After a refused answer: is the screen still what the server has? True if the screen was set anew. */
  async #resync(error, visit) {
    if (!(error instanceof api.Refusal)) return false;
    if (error.status === 401) {
      await this.#lost(error, visit);
      return true;
    }
    if (error.status !== 404 && error.status !== 409) return false;
    try {
      const duel = await this.#persist(() => api.readDuel(this.model.duelId), visit);
      this.#receive(duel, visit, "This round was answered already, maybe in another window.");
      return true;
    } catch (again) {
      await this.#lost(again, visit);
      return true;
    }
  }

  async #lost(error, visit) {
    if (visit !== this.#visit) return;
    if (!(error instanceof api.Refusal) || error.status !== 401) {
      this.#fail("This duel is no longer open. Your picks are kept, and so are your words.");
      return;
    }
    this.#signedIn = false;
    this.#fail(
      this.#allowGuests
        ? "Your session was lost, so this duel cannot go on. The picks you made are kept. Go again with the same words, as a new guest."
        : "Your session was lost, so this duel cannot go on. The picks you made are kept. Please sign in again.",
    );
    if (this.#allowGuests) await this.#signIn().catch(() => {});
  }

  // Bookkeeping.

  #mayAnswer(answer) {
    const { state, undoable, answer: sent } = this.model;
    if (sent !== null && state === "compare") return false; // the duel is being ended
    if (answer === "undo") return undoable !== null && (state === "compare" || state === "waiting");
    return state === "compare" && performance.now() - this.#shownAt >= SETTLE_MS;
  }

  #reveal(result) {
    this.#leave();
    this.#go("revealed", { ...NO_DUEL, picksBefore: this.#picksSoFar(), result, problem: "" });
  }

  #fail(problem) {
    this.#leave();
    this.#go("compose", { ...NO_DUEL, picksBefore: this.#picksSoFar(), problem });
  }

  #picksSoFar() {
    return this.model.picksBefore + this.model.picks;
  }

  /** Stop listening to the duel that was on screen; the number says which visit is the present one. */
  #leave() {
    this.#unfollow();
    this.#visit += 1;
    return this.#visit;
  }

  #go(state, facts) {
    if (state !== this.model.state && !PASSES[this.model.state].includes(state)) {
      throw new Error(`No way from ${this.model.state} to ${state}`);
    }
    this.#set({ ...facts, state });
  }

  #set(facts) {
    this.model = { ...this.model, ...facts };
    const { duelId, prompt, picksBefore } = this.model;
    remember({ duelId, prompt, picksBefore });
    this.#changed(this.model);
  }
}

/** Have the pictures that may come next here before they are asked for; false if there is none yet. */
function fetchAhead({ prefetch = [] }) {
  for (const url of prefetch) load(url).catch(() => {});
  return prefetch.length > 0;
}

function waitOf({ state, position, eta_s: eta, progress }) {
  return { state, position, eta, progress };
}

function send(answer, roundId) {
  if (answer === "skip") return api.skip(roundId);
  if (answer === "undo") return api.undo(roundId);
  return api.pick(roundId, answer);
}

function problemOf(error) {
  if (error instanceof api.NoAnswer) return "No connection to the server. Nothing is lost: try again in a moment.";
  if (!(error instanceof api.Refusal)) throw error;
  if (error.status === 413) return "That is far too long for a prompt. It is still in the box: shorten it and try again.";
  if (error.status === 429 && error.retryAfter) return `${error.reason} Try again in ${seconds(error.retryAfter)}.`;
  return error.reason;
}

function seconds(count) {
  if (count < 90) return `${count} s`;
  return count < 5400 ? `${Math.ceil(count / 60)} minutes` : `${Math.ceil(count / 3600)} hours`;
}

/** A while; shorter when the network comes back. */
function pause(ms) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      removeEventListener("online", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    addEventListener("online", done);
  });
}
