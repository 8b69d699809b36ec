// The "more" menu on the stage: what can be done with each of the two pictures, and a few things besides.

import { downloadOf } from "./api.js";
import { makeMenu } from "./menu.js";
import { urlOf } from "./rounds.js";
import { SIDES, titleOf } from "./sides.js";

const part = (id) => document.getElementById(id);

/** `acts` are functions by name: share(side), report(side), zoom(), next(), tour(), keys(). */
export function makeMore(duel, acts) {
  const menu = part("more-menu");
  makeMenu(part("more"), menu, () => {
    const { round, auto } = duel.model;
    for (const side of SIDES) {
      part(`more-${side}-title`).textContent = titleOf(side);
      const group = menu.querySelector(`[data-side="${side}"]`);
      group.setAttribute("aria-label", titleOf(side));
      if (round) group.querySelector("[download]").href = downloadOf(urlOf(round[side]));
    }
    part("more-next").hidden = !auto;
  });
  menu.addEventListener("click", (event) => {
    const item = event.target.closest("[data-act]");
    if (item) acts[item.dataset.act](item.closest("[data-side]")?.dataset.side);
  });
}

