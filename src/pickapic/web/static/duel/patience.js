// Waiting for the network: an answer is sent again until it is taken.

import { NoAnswer } from "./api.js";

const RETRY_MS = [400, 1000, 2000, 4000];

/**
 * Do it until the server has answered. `onTrouble(true)` is called while there is no connection, and
 * `onTrouble(false)` when there is one again; where `isWanted()` has become false, it is given up.
 */
export async function persist(action, isWanted, onTrouble) {
  for (let attempt = 0; ; attempt += 1) {
    try {
      const reply = await action();
      if (attempt && isWanted()) onTrouble(false);
      return reply;
    } catch (error) {
      if (!(error instanceof NoAnswer) || !isWanted()) throw error;
      onTrouble(true);
      await pause(attempt);
      if (!isWanted()) throw error;
    }
  }
}

/** A while, longer with each attempt; shorter when the network comes back. */
export function pause(attempt) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      removeEventListener("online", done);
      resolve();
    };
    const timer = setTimeout(done, RETRY_MS[Math.min(attempt, RETRY_MS.length - 1)]);
    addEventListener("online", done);
  });
}
