// The server, as the page sees it: one function a call, and errors that say what to do about them.

import { t } from "../language.js";

const CALL_TIMEOUT_MS = 15_000;
const PASSING_STATUS = new Set([502, 503, 504]);

/** The server answered, and the answer is no. `code` is for programs; `reason` is a sentence fit to be shown. */
export class Refusal extends Error {
  constructor(status, code, reason, retryAfter = 0) {
    super(reason);
    this.status = status;
    this.code = code;
    this.reason = reason;
    this.retryAfter = retryAfter; // seconds
  }
}

/** No answer came: nobody knows whether the call arrived. The same call may be sent again. */
export class NoAnswer extends Error {}

function csrfToken() {
  const cookie = document.cookie.split("; ").find((part) => part.startsWith("csrf="));
  return cookie ? decodeURIComponent(cookie.slice("csrf=".length)) : "";
}

function refusal(response, body) {
  const { status } = response;
  const { code = "", message = "" } = body?.error ?? {};
  const fallback =
    status >= 500 ? t("Something went wrong on our side.") : t("The server said no ({status}).", { status });
  return new Refusal(status, code, message || fallback, Number(response.headers.get("Retry-After")) || 0);
}

async function call(method, path, body) {
  const headers = { Accept: "application/json" };
  if (method !== "GET") headers["X-CSRF-Token"] = csrfToken();
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  let answer = null;
  try {
    response = await fetch(path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "same-origin",
      cache: "no-store",
      signal: AbortSignal.timeout(CALL_TIMEOUT_MS),
    });
    const text = await response.text();
    answer = text ? parsed(text) : null;
  } catch (cause) {
    throw new NoAnswer("No answer from the server", { cause });
  }
  if (response.ok) return answer;
  if (PASSING_STATUS.has(response.status)) throw new NoAnswer(`Status ${response.status}`);
  throw refusal(response, answer);
}

// A proxy in front of the server may answer in HTML.
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

export const signInAsGuest = () => call("POST", "/auth/guest");
export const lookAround = () => call("POST", "/auth/visitor");
export const readMe = () => call("GET", "/api/v1/me");
export const readPrompts = () => call("GET", "/api/v1/me/prompts");
export const agree = (version) => call("POST", "/api/v1/me/consent", { version });
export const startDuel = (prompt) => call("POST", "/api/v1/duels", { prompt });
export const readDuel = (duelId) => call("GET", `/api/v1/duels/${duelId}`);
export const endDuel = (duelId) => call("DELETE", `/api/v1/duels/${duelId}`);
export const pick = (roundId, side) => call("POST", `/api/v1/rounds/${roundId}/pick`, { pick: side });
export const skip = (roundId) => call("POST", `/api/v1/rounds/${roundId}/skip`);
export const undo = (roundId) => call("POST", `/api/v1/rounds/${roundId}/undo`);
export const share = (imageUrl) => call("POST", `${imageUrl}/share`);
export const report = (imageUrl, reason, note) => call("POST", `${imageUrl}/report`, { reason, note });
export const downloadOf = (imageUrl) => `${imageUrl}/download`;

/**
 * Follow a duel until the returned function is called. `onState` gets each state the server sends.
 * The browser reconnects by itself; where it gives up, the state is read once a second instead.
 */
export function followDuel(duelId, onState, onGone) {
  let timer = 0;
  let stopped = false;
  const source = new EventSource(`/api/v1/duels/${duelId}/events`);
  const receive = (event) => {
    const state = parsed(event.data);
    if (!stopped && state) onState(state);
  };
  const poll = async () => {
    if (stopped) return;
    try {
      const state = await readDuel(duelId);
      if (!stopped) onState(state);
    } catch (error) {
      if (error instanceof Refusal && !stopped) return onGone(error);
    }
    if (!stopped) timer = setTimeout(poll, 1000);
  };
  source.addEventListener("state", receive);
  source.onerror = () => {
    if (source.readyState === EventSource.CLOSED && !timer) poll();
  };
  return () => {
    stopped = true;
    clearTimeout(timer);
    source.close();
  };
}
