// What stands in the place of the prompt box: the free prompt before signing in, the way to sign in, or the
// word that picking is over. The panels are in duel.html.

const part = (id) => document.getElementById(id);
const PANELS = ["free", "sign_in", "banned"];

let shown;

/** `gate` is `{kind, message}`, or null: then the prompt box is there. */
export function renderGate(gate) {
  if (gate === shown) return;
  shown = gate;
  part("gate").hidden = gate === null;
  part("writing").hidden = gate !== null;
  for (const kind of PANELS) part(`gate-${kind}`).hidden = gate?.kind !== kind;
  if (!gate) return;
  const panel = part(`gate-${gate.kind}`);
  part("gate").setAttribute("aria-labelledby", panel.querySelector("h1").id);
  if (gate.message) panel.querySelector(".gate-message").textContent = gate.message;
}
