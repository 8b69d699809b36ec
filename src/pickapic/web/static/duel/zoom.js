// Both pictures larger, and always the same part of both.

import { t } from "../language.js";

const LEAST = 1;
const MOST = 8;
const FIRST = 2.5;
const STEP = 1.5;
const PAN = 0.15; // of what is visible

/** `say` tells those who do not see it. */
export class Zoom {
  #pair;
  #say;
  #scale = 1;
  #at = { x: 0.5, y: 0.5 }; // the point of the pictures in the middle of the frames, in parts of their size

  constructor(pair, say) {
    this.#pair = pair;
    this.#say = say;
  }

  get isOn() {
    return this.#scale > LEAST;
  }

  get scale() {
    return this.#scale;
  }

  toggle(at) {
    if (this.isOn) this.leave();
    else this.enter(at);
  }

  /** Look closer; `at` is a point of the pictures, their middle if none is given. */
  enter(at = { x: 0.5, y: 0.5 }) {
    this.#look(FIRST, at);
    this.#say(t("Zoomed in, both alike. Arrow keys look around, plus and minus change the size, Escape returns."));
  }

  leave() {
    if (!this.isOn) return;
    this.#look(1, { x: 0.5, y: 0.5 });
    this.#say(t("Back to whole pictures."));
  }

  /** Larger (1) or smaller (-1) by a step. */
  step(direction) {
    this.#look(this.#scale * STEP ** direction, this.#at);
  }

  /** Scale by `factor` around a point of the frame (0..1 each) that stays where it is. */
  scaleBy(factor, point) {
    const scale = Math.min(MOST, Math.max(LEAST, this.#scale * factor));
    const shift = 1 / this.#scale - 1 / scale;
    this.#look(scale, { x: this.#at.x + (point.x - 0.5) * shift, y: this.#at.y + (point.y - 0.5) * shift });
  }

  /** Move by parts of the frame: to the right and down, as a finger does. */
  drag(x, y) {
    this.#look(this.#scale, { x: this.#at.x - x / this.#scale, y: this.#at.y - y / this.#scale });
  }

  /** Look to the left (-1, 0), right, up or down by a step. */
  pan(x, y) {
    this.drag(-x * PAN, -y * PAN);
  }

  /** The point of the pictures that is shown at a point of the frame. */
  pointAt({ x, y }) {
    return { x: this.#at.x + (x - 0.5) / this.#scale, y: this.#at.y + (y - 0.5) / this.#scale };
  }

  #look(scale, { x, y }) {
    this.#scale = Math.min(MOST, Math.max(LEAST, scale));
    const edge = 0.5 / this.#scale;
    const within = (value) => Math.min(1 - edge, Math.max(edge, value));
    this.#at = { x: within(x), y: within(y) };
    const style = this.#pair.style;
    style.setProperty("--zoom", this.#scale.toFixed(4));
    style.setProperty("--pan-x", `${((0.5 - this.#at.x) * this.#scale * 100).toFixed(3)}%`);
    style.setProperty("--pan-y", `${((0.5 - this.#at.y) * this.#scale * 100).toFixed(3)}%`);
    this.#pair.classList.toggle("is-zoomed", this.isOn);
    document.body.classList.toggle("is-looking", this.isOn);
    document.getElementById("zoom").setAttribute("aria-pressed", String(this.isOn));
  }
}
