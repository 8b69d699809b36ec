// What a prompt does not want stands in [square brackets]. The server decides; this shows it the same way.

/**
 * The prompt in pieces, `{text, negative}`, in order and with their brackets: the outermost balanced pairs are
 * negative, brackets inside them are text, and a bracket without its partner is an ordinary character.
 */
export function pieces(prompt) {
  const found = [];
  let position = 0;
  for (const [start, end] of outerBrackets(prompt)) {
    if (start > position) found.push({ text: prompt.slice(position, start), negative: false });
    found.push({ text: prompt.slice(start, end + 1), negative: true });
    position = end + 1;
  }
  if (position < prompt.length) found.push({ text: prompt.slice(position), negative: false });
  return found;
}

/** The things that are left out, without their brackets. */
export function negatives(prompt) {
  return pieces(prompt)
    .filter((piece) => piece.negative)
    .map((piece) => piece.text.slice(1, -1).trim())
    .filter(Boolean);
}

/** The prompt as nodes, its negative parts set apart. */
export function marked(prompt) {
  return pieces(prompt).map(({ text, negative }) => {
    if (!negative) return text;
    const part = document.createElement("span");
    part.className = "negative";
    part.textContent = text;
    return part;
  });
}

function outerBrackets(text) {
  const open = [];
  const pairs = [];
  for (let index = 0; index < text.length; index += 1) {
    if (text[index] === "[") open.push(index);
    else if (text[index] === "]" && open.length) {
      const start = open.pop();
      while (pairs.length && pairs.at(-1)[0] > start) pairs.pop();
      pairs.push([start, index]);
    }
  }
  return pairs;
}
