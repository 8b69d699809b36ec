// The two pictures on screen: put up, framed, dimmed, moved to their new places.

import { missingOf, nameOf, SIDES } from "./sides.js";

const part = (id) => document.getElementById(id);
const calm = matchMedia("(prefers-reduced-motion: reduce)");

export function renderPair({ state, round, answer }, before) {
  const pair = part("pair");
  pair.classList.toggle("is-empty", round === null);
  pair.setAttribute("aria-busy", String(state !== "compare"));
  if (round !== before.round) place(pair, round, before.round);
  const picked = SIDES.includes(answer) ? answer : null;
  for (const side of SIDES) {
    const button = part(side);
    if (round) button.removeAttribute("aria-label");
    else button.setAttribute("aria-label", missingOf(side));
    button.setAttribute("aria-disabled", String(state !== "compare"));
    button.classList.toggle("is-picked", picked === side || answer === "tie");
    button.classList.toggle("is-passed", (picked !== null && picked !== side) || answer === "skip");
    button.classList.toggle("is-waiting", state === "waiting" && picked !== side);
  }
}

/** Put the two decoded images up; the one that stays glides to its new place. */
function place(pair, round, old) {
  const from = new Map();
  for (const side of old && !calm.matches ? SIDES : []) {
    const image = old[side];
    if (image.isConnected) from.set(image, image.getBoundingClientRect());
  }
  for (const side of SIDES) {
    const frame = part(side).querySelector(".frame");
    const image = round?.[side];
    if (!image) {
      frame.replaceChildren();
      continue;
    }
    image.alt = nameOf(side, round.prompt);
    if (image.parentElement !== frame || frame.childElementCount > 1) frame.replaceChildren(image);
  }
  pair.dataset.round = round?.id ?? "";
  if (!round) return;
  pair.style.setProperty("--ratio", ratioOf(round));
  for (const side of calm.matches ? [] : SIDES) enter(round[side], from.get(round[side]));
}

function enter(image, was) {
  if (!was) {
    image.animate([{ opacity: 0.35 }, { opacity: 1 }], { duration: 140, easing: "ease-out" });
    return;
  }
  const is = image.getBoundingClientRect();
  const [dx, dy] = [was.left - is.left, was.top - is.top];
  if (!dx && !dy) return;
  image.parentElement.classList.add("is-gliding");
  const glide = image.animate([{ transform: `translate(${dx}px, ${dy}px)` }, { transform: "none" }], {
    duration: 180,
    easing: "cubic-bezier(.2, .8, .2, 1)",
  });
  glide.onfinish = glide.oncancel = () => image.parentElement?.classList.remove("is-gliding");
}

// One shape for both frames, so that neither picture is shown larger.
function ratioOf({ left, right }) {
  const ratio = Math.max(left.naturalWidth / left.naturalHeight, right.naturalWidth / right.naturalHeight);
  return Math.min(2.4, Math.max(0.4, ratio || 1)).toFixed(4);
}
