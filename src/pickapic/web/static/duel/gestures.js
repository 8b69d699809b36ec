// Fingers and the mouse on the two pictures.
//
//   tap, click                 pick
//   two taps                   zoom in; a tap then goes back
//   two fingers, Ctrl + wheel  zoom
//   hold (fingers)             the other picture in this one's place
//   drag while zoomed          both pictures move

import { peek } from "./peek.js";

// As long as a second tap may take. A mouse needs no second tap, so a click is a pick at once.
const SECOND_TAP_MS = 220;
const HOLD_MS = 420;
const SLOP = 10; // px that a finger may move and still tap

/** `takes(side)` says whether a pick is wanted now; `onPick(side)` is called with it. */
export function listenForGestures(pair, zoom, { takes, onPick }) {
  new Gestures(pair, zoom, takes, onPick);
}

class Gestures {
  #pair;
  #zoom;
  #takes;
  #onPick;
  #fingers = new Map(); // by pointer id: {x, y}
  #isTouch = false;
  #moved = false; // since the first finger came down: then its click is no tap
  #tap = null; // {side, timer}: a tap that may become two
  #hold = 0;
  #endPeek = null;

  constructor(pair, zoom, takes, onPick) {
    this.#pair = pair;
    this.#zoom = zoom;
    this.#takes = takes;
    this.#onPick = onPick;
    const listen = (kind, hear) => pair.addEventListener(kind, hear.bind(this), { passive: false });
    listen("pointerdown", this.#down);
    listen("pointermove", this.#move);
    for (const kind of ["pointerup", "pointercancel"]) listen(kind, this.#up);
    listen("click", this.#click);
    listen("wheel", this.#wheel);
    listen("contextmenu", (event) => this.#isTouch && event.preventDefault());
    // A click leaves the focus where it was: otherwise the space bar would pick the picture instead of skipping.
    listen("mousedown", (event) => event.preventDefault());
  }

  #down(event) {
    if (event.button > 0) return;
    this.#isTouch = event.pointerType === "touch";
    if (this.#fingers.size === 0) this.#moved = false;
    this.#fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    clearTimeout(this.#hold);
    const side = sideAt(event);
    if (this.#fingers.size === 1 && this.#isTouch && side && !this.#zoom.isOn) {
      this.#hold = setTimeout(() => this.#startPeek(side), HOLD_MS);
    }
    if (this.#fingers.size === 2) this.#moved = true;
  }

  #move(event) {
    const before = this.#fingers.get(event.pointerId);
    if (!before) return;
    const [dx, dy] = [event.clientX - before.x, event.clientY - before.y];
    if (!this.#moved && Math.hypot(dx, dy) < SLOP) return;
    this.#moved = true;
    clearTimeout(this.#hold);
    const now = { x: event.clientX, y: event.clientY };
    const other = [...this.#fingers].find(([id]) => id !== event.pointerId)?.[1];
    const frame = frameOf(this.#pair);
    if (other) {
      const factor = distance(now, other) / Math.max(1, distance(before, other));
      this.#zoom.scaleBy(factor, within(pointBetween(now, other)));
    } else if (this.#zoom.isOn) {
      // A mouse may leave the pictures while it drags them.
      event.target.setPointerCapture(event.pointerId);
      this.#zoom.drag(dx / frame.width, dy / frame.height);
    }
    this.#fingers.set(event.pointerId, now);
  }

  #up(event) {
    clearTimeout(this.#hold);
    this.#fingers.delete(event.pointerId);
    this.#endPeek?.();
    this.#endPeek = null;
  }

  #click(event) {
    const side = sideAt(event);
    if (!side) return;
    const isKey = event.detail === 0; // Enter on a picture that has the focus
    if (this.#moved && !isKey) return;
    if (this.#zoom.isOn) {
      this.#forget();
      this.#zoom.leave();
    } else if (!this.#isTouch || isKey) {
      this.#onPick(side);
    } else if (this.#tap) {
      this.#forget();
      this.#zoom.enter(this.#zoom.pointAt(within({ x: event.clientX, y: event.clientY })));
    } else if (this.#takes(side)) {
      this.#mark(side, true);
      this.#tap = { side, timer: setTimeout(() => this.#pick(), SECOND_TAP_MS) };
    }
  }

  #pick() {
    const { side } = this.#tap;
    this.#forget();
    this.#onPick(side);
  }

  #forget() {
    if (!this.#tap) return;
    clearTimeout(this.#tap.timer);
    this.#mark(this.#tap.side, false);
    this.#tap = null;
  }

  /** The tap is seen at once, though it may still become two. */
  #mark(side, isTapped) {
    this.#pair.querySelector(`#${side}`).classList.toggle("is-tapped", isTapped);
  }

  #startPeek(side) {
    this.#moved = true;
    this.#endPeek = peek(this.#pair, [side]);
  }

  #wheel(event) {
    if (!this.#zoom.isOn && !event.ctrlKey) return;
    event.preventDefault();
    const factor = Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.002));
    this.#zoom.scaleBy(factor, within({ x: event.clientX, y: event.clientY }));
  }
}

const sideAt = (event) => event.target.closest(".picture")?.id;
const frameOf = (pair) => pair.querySelector(".frame").getBoundingClientRect();
const distance = (a, b) => Math.hypot(a.x - b.x, a.y - b.y);
const pointBetween = (a, b) => ({ x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 });

/** A point of the window as a point of the frame that it is in, 0..1 each. */
function within({ x, y }) {
  const frame = document.elementFromPoint(x, y)?.closest(".picture")?.querySelector(".frame");
  if (!frame) return { x: 0.5, y: 0.5 };
  const box = frame.getBoundingClientRect();
  return { x: (x - box.left) / box.width, y: (y - box.top) / box.height };
}
