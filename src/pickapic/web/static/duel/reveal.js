// The end of a duel: which model made which picture, and how often it was picked.

export function showReveal(section, { result }) {
  const rounds = (result?.rounds ?? []).filter((round) => round.pick);
  section.replaceChildren();
  if (rounds.length === 0) {
    section.hidden = true;
    return;
  }
  const title = element("h2", "", "Who made them");
  title.id = "reveal-title";
  const about = element("p", "reveal-prompt", result.prompt ?? "");
  section.append(title, about, tableOf(standings(rounds)), stripOf(rounds));
}

/** Per model: rounds it was in, and wins (a tie is half a win each), best first. */
export function standings(rounds) {
  const models = new Map();
  for (const { pick, images } of rounds) {
    for (const { side, model } of images) {
      const row = models.get(model) ?? { model, rounds: 0, wins: 0 };
      row.rounds += 1;
      row.wins += pick === "tie" ? 0.5 : Number(pick === side);
      models.set(model, row);
    }
  }
  return [...models.values()].sort((a, b) => b.wins / b.rounds - a.wins / a.rounds || b.rounds - a.rounds);
}

function tableOf(rows) {
  const table = element("table", "standings");
  const caption = element("caption", "sr", "How often each model was picked; a tie counts half");
  const head = element("thead");
  head.append(rowOf("th", ["Model", "Picked", "Share"]));
  const body = element("tbody");
  for (const { model, rounds, wins } of rows) {
    const meter = element("meter");
    meter.max = rounds;
    meter.value = wins;
    meter.setAttribute("aria-hidden", "true");
    const row = rowOf("td", [model, `${halves(wins)} of ${rounds}`, ""]);
    row.lastChild.append(meter);
    body.append(row);
  }
  table.append(caption, head, body);
  return table;
}

function stripOf(rounds) {
  const strip = element("ol", "strip");
  for (const { pick, images } of rounds) {
    const pair = element("li");
    const ordered = [...images].sort((a) => (a.side === "left" ? -1 : 1));
    for (const { side, url, model } of ordered) {
      const kept = pick === side || pick === "tie";
      const figure = element("figure", kept ? "is-picked" : "");
      const image = element("img");
      Object.assign(image, { src: url, alt: `${side} image`, loading: "lazy", width: 128, height: 128 });
      const caption = element("figcaption", "", model);
      if (kept) caption.append(element("span", "sr", pick === "tie" ? ", about the same" : ", picked"));
      figure.append(image, caption);
      pair.append(figure);
    }
    strip.append(pair);
  }
  return strip;
}

function rowOf(cell, texts) {
  const row = element("tr");
  row.append(...texts.map((text) => element(cell, "", text)));
  return row;
}

function halves(count) {
  const whole = Math.floor(count);
  if (count === whole) return String(whole);
  return whole ? `${whole}½` : "½";
}

function element(tag, className = "", text = "") {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}
