// One round: its two pictures brought, its answer sent.

import * as api from "./api.js";
import { pause } from "./patience.js";
import { fetchAgain, load } from "./pictures.js";

const TRIES = 4;

/** The two decoded pictures, `{left, right}`, or null where they do not arrive; `onTrouble` is called meanwhile. */
export async function bring(round, isWanted, onTrouble) {
  const url = Object.fromEntries(round.images.map((image) => [image.side, image.url]));
  for (let attempt = 1; ; attempt += 1) {
    try {
      const [left, right] = await Promise.all([load(url.left), load(url.right)]);
      return { left, right };
    } catch {
      if (attempt === TRIES || !isWanted()) return null;
      onTrouble();
      await pause(attempt);
    }
  }
}

/** Send left, right, tie, skip or undo; resolves to the duel as it then is. */
export async function send(answer, roundId, round) {
  if (answer === "skip") return api.skip(roundId);
  if (answer === "undo") return api.undo(roundId);
  try {
    return await api.pick(roundId, answer);
  } catch (error) {
    if (error.code !== "not_shown") throw error;
    // The browser had the pictures from its own cache, which the server cannot see.
    await fetchAgain([urlOf(round.left), urlOf(round.right)]);
    return api.pick(roundId, answer);
  }
}

/** The address of a picture on this server. */
export function urlOf(picture) {
  return new URL(picture.src).pathname;
}

/** What there is to say while pictures are made. */
export function waitOf({ state, position, eta_s: eta, progress }) {
  return { state, position, eta, progress };
}
