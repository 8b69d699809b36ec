// The prompts one wrote before, to be taken up again.

import { t, tn } from "../language.js";
import { readPrompts } from "./api.js";
import { makeMenu } from "./menu.js";

const part = (id) => document.getElementById(id);

/** Make the list behind the button in the prompt box; `choose(prompt)` is called with the chosen one. */
export function makeHistory(session, choose) {
  const menu = part("history-menu");
  makeMenu(part("history"), menu, async () => {
    if (!menu.childElementCount) show(menu, [], t("Just a moment"));
    try {
      const { prompts } = await session.run(readPrompts);
      show(menu, prompts, t("You have not written a prompt yet."));
    } catch {
      show(menu, [], t("Your prompts cannot be had just now."));
    }
  });
  menu.addEventListener("click", (event) => {
    const item = event.target.closest("[role=menuitem]");
    if (item) choose(item.querySelector(".history-prompt").textContent);
  });
  part("prompt").addEventListener("keydown", (event) => {
    // As in a shell; with words in the box, the key moves the cursor.
    if (event.key !== "ArrowUp" || part("prompt").value || part("history").hidden) return;
    event.preventDefault();
    menu.showPopover();
  });
}

function show(menu, prompts, otherwise) {
  if (!prompts.length) {
    const nothing = document.createElement("span");
    nothing.className = "menu-nothing";
    nothing.setAttribute("role", "none");
    nothing.textContent = otherwise;
    menu.replaceChildren(nothing);
    return;
  }
  menu.replaceChildren(...prompts.map(itemOf));
}

function itemOf({ prompt, picks }) {
  const item = document.createElement("button");
  item.type = "button";
  item.tabIndex = -1;
  item.setAttribute("role", "menuitem");
  const words = document.createElement("span");
  words.className = "history-prompt";
  words.dir = "auto";
  words.textContent = prompt;
  item.append(words);
  if (picks) {
    const count = document.createElement("span");
    count.className = "history-picks";
    count.textContent = tn("{n} pick", "{n} picks", picks);
    item.append(" ", count);
  }
  return item;
}
