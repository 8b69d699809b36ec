// Who is at the page: signs in where that takes no ceremony, renews what has gone stale, asks for consent.

import { t } from "../language.js";
import * as api from "./api.js";

export class Session {
  #allowGuests;
  #freePrompt;
  #askConsent;

  /** `kind` is "" (nobody), visitor, guest or account. `askConsent` resolves to whether the person agreed. */
  constructor({ kind, allowGuests, freePrompt, askConsent }) {
    this.kind = kind;
    this.#allowGuests = allowGuests;
    this.#freePrompt = freePrompt.trim();
    this.#askConsent = askConsent;
  }

  /** Whether only the free prompt may be tried. */
  get isTrying() {
    return !this.#allowGuests && (this.kind === "" || this.kind === "visitor");
  }

  get allowsGuests() {
    return this.#allowGuests;
  }

  lose() {
    this.kind = "";
  }

  /** Do it; a stale CSRF token is renewed, and consent asked for, once each. */
  async run(action) {
    const mended = new Set();
    for (;;) {
      try {
        return await action();
      } catch (error) {
        if (!(error instanceof api.Refusal) || mended.has(error.code) || !(await this.#mend(error.code))) throw error;
        mended.add(error.code);
      }
    }
  }

  /** Do it as somebody who may start this prompt. */
  async runSignedIn(action, prompt) {
    if (this.kind === "" || (this.kind === "visitor" && this.#allowGuests)) await this.signIn(prompt);
    try {
      return await this.run(action);
    } catch (error) {
      if (!(error instanceof api.Refusal) || error.code !== "signed_out") throw error;
      await this.signIn(prompt);
      return this.run(action);
    }
  }

  async signIn(prompt = "") {
    if (this.#allowGuests) {
      await this.run(api.signInAsGuest);
      this.kind = "guest";
    } else if (this.#freePrompt && prompt.trim() === this.#freePrompt) {
      await this.run(api.lookAround);
      this.kind = "visitor";
    } else {
      throw new api.Refusal(401, "sign_in", t("Please sign in first. Your words are kept."));
    }
  }

  async #mend(code) {
    if (code === "csrf") return true; // the refusal itself brought a fresh token
    return code === "consent" && this.#askConsent();
  }
}
