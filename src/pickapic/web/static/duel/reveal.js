// The end of a duel: the winner, which model made which picture, and how often each was picked.

import { t } from "../language.js";
import { downloadOf } from "./api.js";
import { marked } from "./negatives.js";
import { nameOf, SIDES } from "./sides.js";

/** Fill the section with the revealed duels; the last comes first. */
export function showReveal(section, duels) {
  const played = duels.map(({ prompt, rounds }) => ({ prompt, rounds: rounds.filter((round) => round.pick) }));
  const told = played.filter(({ rounds }) => rounds.length > 0).reverse();
  section.replaceChildren();
  section.hidden = told.length === 0;
  if (section.hidden) return;
  const title = element("h2", "", t("Who made them"));
  title.id = "reveal-title";
  section.append(title, winnerOf(told[0]), tableOf(standings(told.flatMap(({ rounds }) => rounds))), linksOf());
  for (const duel of told) {
    if (told.length > 1) section.append(promptOf(duel.prompt));
    section.append(stripOf(duel));
  }
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

/** The picture that was picked last: it stood against all that came after it. */
function winnerOf({ prompt, rounds }) {
  const last = rounds.findLast(({ pick }) => SIDES.includes(pick)) ?? rounds.at(-1);
  const { url, model } = last.images.find(({ side }) => side === last.pick) ?? last.images[0];
  const figure = element("figure", "winner");
  const image = element("img");
  const alt = t("the picture you kept, for: {prompt}", { prompt });
  Object.assign(image, { src: url, alt, width: 256, height: 256 });
  const caption = element("figcaption");
  const words = promptOf(prompt);
  const maker = element("p", "winner-model", t("You kept a picture by {model}.", { model }));
  const acts = element("p", "winner-acts");
  const share = element("button", "plain", t("Share the winner"));
  Object.assign(share, { type: "button", id: "share-winner" });
  share.dataset.url = url;
  const download = element("a", "plain", t("Download"));
  Object.assign(download, { href: downloadOf(url), download: "" });
  acts.append(share, download);
  caption.append(words, maker, acts);
  figure.append(image, caption);
  return figure;
}

function promptOf(prompt) {
  const words = element("p", "reveal-prompt");
  words.dir = "auto";
  words.append(...marked(prompt ?? ""));
  return words;
}

function linksOf() {
  const links = element("p", "reveal-links");
  for (const [href, text] of [
    ["/gallery", t("Your gallery")],
    ["/leaderboard", t("The leaderboard of all")],
  ]) {
    const link = element("a", "", text);
    link.href = href;
    links.append(link);
  }
  return links;
}

function tableOf(rows) {
  const table = element("table", "standings");
  const caption = element("caption", "sr", t("How often each model was picked; a tie counts half"));
  const head = element("thead");
  head.append(rowOf("th", [t("Model"), t("Picked"), t("Share")]));
  const body = element("tbody");
  for (const { model, rounds, wins } of rows) {
    const meter = element("meter");
    meter.max = rounds;
    meter.value = wins;
    meter.setAttribute("aria-hidden", "true");
    const row = rowOf("td", [model, t("{wins} of {rounds}", { wins: halves(wins), rounds }), ""]);
    row.lastChild.append(meter);
    body.append(row);
  }
  table.append(caption, head, body);
  return table;
}

function stripOf({ prompt, rounds }) {
  const strip = element("ol", "strip");
  for (const { pick, images } of rounds) {
    const pair = element("li");
    const ordered = [...images].sort((a) => (a.side === "left" ? -1 : 1));
    for (const { side, url, model } of ordered) {
      const kept = pick === side || pick === "tie";
      const figure = element("figure", kept ? "is-picked" : "");
      const image = element("img");
      Object.assign(image, { src: url, alt: nameOf(side, prompt), loading: "lazy", width: 128, height: 128 });
      const caption = element("figcaption", "", model);
      if (kept) caption.append(element("span", "sr", pick === "tie" ? t(", about the same") : t(", picked")));
      figure.append(image, caption);
      pair.append(figure);
    }
    strip.append(pair);
  }
  return strip;
}

function rowOf(cell, texts) {
  const row = element("tr");
  row.append(
    ...texts.map((text) => {
      const made = element(cell, "", text);
      if (cell === "th") made.scope = "col";
      return made;
    }),
  );
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
