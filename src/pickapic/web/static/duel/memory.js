// What survives a reload of this tab: which duel is open, the words, and how much was picked.

const KEY = "pickapic.duel";
const KEYS_OFF = "pickapic.keys-off";

/** `{duelId, prompt, picksBefore, draft}`; any of them may be missing. */
export function recall() {
  try {
    return JSON.parse(sessionStorage.getItem(KEY)) ?? {};
  } catch {
    return {};
  }
}

export function remember(facts) {
  try {
    sessionStorage.setItem(KEY, JSON.stringify({ ...recall(), ...facts }));
  } catch {
    // Storage may be switched off; the page then works until it is reloaded.
  }
}

export function keysAreOn() {
  try {
    return localStorage.getItem(KEYS_OFF) === null;
  } catch {
    return true;
  }
}

export function switchKeys(on) {
  try {
    if (on) localStorage.removeItem(KEYS_OFF);
    else localStorage.setItem(KEYS_OFF, "1");
  } catch {
    // As above.
  }
}
