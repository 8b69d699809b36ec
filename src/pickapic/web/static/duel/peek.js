// Comparing in place: while a picture is held down, the other one stands where it was.

import { SIDES } from "./sides.js";

/** Show in the frame of each of `sides` the other picture; returns how to end it, or null where there are not two. */
export function peek(pair, sides = SIDES) {
  const frames = SIDES.map((side) => pair.querySelector(`#${side} .frame`));
  const images = frames.map((frame) => frame.querySelector("img"));
  if (images.includes(null)) return null;
  const covers = sides.map((side) => {
    const at = SIDES.indexOf(side);
    const cover = images[1 - at].cloneNode();
    cover.className = "cover";
    cover.alt = "";
    frames[at].append(cover);
    return cover;
  });
  pair.classList.add("is-peeking");
  return () => {
    for (const cover of covers) cover.remove();
    pair.classList.remove("is-peeking");
  };
}
