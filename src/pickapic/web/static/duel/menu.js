// A menu that opens at its button: arrow keys go round, Home and End jump, Escape and Tab close. The markup is a
// button with `popovertarget` and an element with `popover` and role="menu".

const GAP = 8;

/** Make a menu of the two; `fill` is called before it shows, and may promise to do it a little later. */
export function makeMenu(button, menu, fill) {
  let filled = null;
  menu.addEventListener("beforetoggle", (event) => {
    if (event.newState === "open") filled = fill();
  });
  menu.addEventListener("toggle", async (event) => {
    const isOpen = event.newState === "open";
    button.setAttribute("aria-expanded", String(isOpen));
    if (!isOpen) return;
    placeAt(button, menu);
    if (filled) await filled;
    if (!menu.matches(":popover-open")) return;
    placeAt(button, menu);
    itemsOf(menu)[0]?.focus();
  });
  menu.addEventListener("keydown", (event) => move(event, menu));
  menu.addEventListener("click", (event) => {
    if (event.target.closest("[role=menuitem]")) menu.hidePopover();
  });
}

function itemsOf(menu) {
  return [...menu.querySelectorAll("[role=menuitem]")].filter((item) => item.checkVisibility() && !item.disabled);
}

function move(event, menu) {
  const items = itemsOf(menu);
  const at = items.indexOf(document.activeElement);
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1 }[event.key];
  if (event.key === "Tab") menu.hidePopover();
  if (to === undefined || items.length === 0) return;
  event.preventDefault();
  items.at(to % items.length).focus();
}

/** Above or below the button, wherever there is more room, and never out of the window. */
function placeAt(button, menu) {
  const at = button.getBoundingClientRect();
  const [width, height] = [menu.offsetWidth, menu.offsetHeight];
  const left = Math.min(at.left, innerWidth - width - GAP);
  const above = at.top - GAP - height;
  const below = at.bottom + GAP;
  const top = innerHeight - at.bottom > at.top || above < GAP ? Math.min(below, innerHeight - height - GAP) : above;
  menu.style.left = `${Math.max(GAP, left)}px`;
  menu.style.top = `${Math.max(GAP, top)}px`;
}
