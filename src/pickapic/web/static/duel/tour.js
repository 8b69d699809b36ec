// The tour of a first visit: a few words at the real buttons, left by Escape or a button, and never again.

import { t } from "../language.js";
import { finishTour } from "./memory.js";

const part = (id) => document.getElementById(id);
const MARGIN = 10;

function steps() {
  const touch = matchMedia("(pointer: coarse)").matches;
  return [
    {
      at: "pair",
      title: t("Pick the better picture"),
      text: touch
        ? t("Tap the one that fits the words better. Two taps look closer; hold one to see the other in its place.")
        : t("Click the one that fits the words better, or press an arrow key. A new one takes the other’s place."),
    },
    { at: "tie", title: t("Hard to say?"), text: t("If neither is clearly better, say so. That counts as well.") },
    {
      at: "undo",
      title: t("Nothing is lost"),
      text: t("Undo takes the last answer back. Skip brings two new pictures, without an answer."),
    },
    {
      at: "finish",
      title: t("Enough of this prompt?"),
      text: t("Then ask for a new one. You will be told which model made which picture."),
    },
  ];
}

/** Take the tour. It is over when its dialog closes, however that comes about. */
export function takeTour() {
  const dialog = part("tour");
  if (dialog.open) return;
  const all = steps();
  let step = 0;

  function show() {
    const { at, title, text } = all[step];
    part("tour-title").textContent = title;
    part("tour-text").textContent = text;
    part("tour-count").textContent = t("{n} of {all}", { n: step + 1, all: all.length });
    part("tour-next").textContent = step === all.length - 1 ? t("Got it") : t("Next");
    point(part(at));
  }

  function next() {
    step += 1;
    if (step < all.length) show();
    else dialog.close();
  }

  const replace = () => point(part(all[Math.min(step, all.length - 1)].at));
  // Beside the card, anywhere: on.
  const click = (event) => event.target === dialog && next();
  part("tour-next").addEventListener("click", next);
  dialog.addEventListener("click", click);
  addEventListener("resize", replace);
  dialog.addEventListener(
    "close",
    () => {
      finishTour();
      part("tour-next").removeEventListener("click", next);
      dialog.removeEventListener("click", click);
      removeEventListener("resize", replace);
    },
    { once: true },
  );
  dialog.showModal();
  show();
}

/** Put the light on `target`, and the card above or below it, where there is room. */
function point(target) {
  const at = target.getBoundingClientRect();
  const spot = part("tour-spot");
  const card = part("tour-card");
  Object.assign(spot.style, {
    left: `${at.left - MARGIN / 2}px`,
    top: `${at.top - MARGIN / 2}px`,
    width: `${at.width + MARGIN}px`,
    height: `${at.height + MARGIN}px`,
  });
  const [width, height] = [card.offsetWidth, card.offsetHeight];
  const left = Math.min(Math.max(MARGIN, at.left + at.width / 2 - width / 2), innerWidth - width - MARGIN);
  const below = at.bottom + MARGIN * 1.5;
  const above = at.top - height - MARGIN * 1.5;
  const fits = (top) => top >= MARGIN && top + height <= innerHeight - MARGIN;
  // Where there is room on neither side, over its lower part.
  const top = fits(above) ? above : fits(below) ? below : Math.min(at.bottom, innerHeight) - height - MARGIN * 2;
  Object.assign(card.style, { left: `${left}px`, top: `${top}px` });
}
