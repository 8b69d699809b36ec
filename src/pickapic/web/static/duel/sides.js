// The two sides and their names. They are physical, as arrow keys are: in every language the left picture stands
// on the left. Where the pictures are stacked, the left one is the upper.

import { t } from "../language.js";

export const SIDES = ["left", "right"];

let stacked = false;

/** Keep an eye on whether the pictures stand beside or above each other. */
export function watchSides(pair) {
  const [left, right] = SIDES.map((side) => pair.querySelector(`#${side}`));
  new ResizeObserver(() => {
    stacked = left.offsetTop < right.offsetTop;
  }).observe(left);
}

/** The side of a picture as a heading: "Left picture". */
export function titleOf(side) {
  if (stacked) return side === "left" ? t("Upper picture") : t("Lower picture");
  return side === "left" ? t("Left picture") : t("Right picture");
}

/** What the person is asked who reports a picture. */
export function complaintOf(side) {
  if (stacked && side === "left") return t("What is wrong with the upper picture?");
  if (stacked) return t("What is wrong with the lower picture?");
  return side === "left" ? t("What is wrong with the left picture?") : t("What is wrong with the right picture?");
}

/** What a picture is, for those who do not see it. */
export function nameOf(side, prompt) {
  if (stacked) {
    return side === "left" ? t("upper image for: {prompt}", { prompt }) : t("lower image for: {prompt}", { prompt });
  }
  return side === "left" ? t("left image for: {prompt}", { prompt }) : t("right image for: {prompt}", { prompt });
}

export function missingOf(side) {
  if (stacked) return side === "left" ? t("upper image, not made yet") : t("lower image, not made yet");
  return side === "left" ? t("left image, not made yet") : t("right image, not made yet");
}

/** What is said when an answer is given. */
export function answerWords(answer) {
  if (answer === "tie") return t("About the same.");
  if (answer === "skip") return t("Skipped.");
  if (answer === "undo") return t("Taken back.");
  if (answer === "left") return stacked ? t("Upper picked.") : t("Left picked.");
  if (answer === "right") return stacked ? t("Lower picked.") : t("Right picked.");
  return "";
}
