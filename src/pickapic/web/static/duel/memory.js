// What the browser keeps: for a reload of this tab, which duel is open, the words, and how much was picked;
// for the next visit, which prompts were tried, that the tour was seen, and two wishes.

const KEY = "pickapic.duel";
const KEYS_OFF = "pickapic.keys-off";
const TOUR = "pickapic.tour";
const PROMPTS = "pickapic.prompts";
const PROMPTS_KEPT = 20;

/** `{duelId, prompt, picksBefore, draft, auto}`; any of them may be missing. */
export function recall() {
  return read(() => sessionStorage, KEY) ?? {};
}

export function remember(facts) {
  write(() => sessionStorage, KEY, { ...recall(), ...facts });
}

export const keysAreOn = () => read(() => localStorage, KEYS_OFF) === null;
export const switchKeys = (on) => write(() => localStorage, KEYS_OFF, on ? null : 1);

export const tourIsDone = () => read(() => localStorage, TOUR) !== null;
export const finishTour = () => write(() => localStorage, TOUR, 1);

/** Prompts of this browser, the last first. */
export function ownPrompts() {
  const known = read(() => localStorage, PROMPTS);
  return Array.isArray(known) ? known.filter((prompt) => typeof prompt === "string") : [];
}

export function keepPrompt(prompt) {
  const others = ownPrompts().filter((other) => other !== prompt);
  write(() => localStorage, PROMPTS, [prompt, ...others].slice(0, PROMPTS_KEPT));
}

// Storage may be switched off: to touch it is then an error. The page works until it is reloaded.

function read(storage, key) {
  try {
    return JSON.parse(storage().getItem(key));
  } catch {
    return null;
  }
}

function write(storage, key, value) {
  try {
    if (value === null) storage().removeItem(key);
    else storage().setItem(key, JSON.stringify(value));
  } catch {
    // As above.
  }
}
