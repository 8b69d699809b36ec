// The words of the page in its reader's language. English text is the key, as in gettext.
// The page brings them as a block of data: see base.html and web/languages.py.

const catalogue = JSON.parse(document.getElementById("catalogue")?.textContent || "{}");
// Which of a message's forms goes with "one", "two", "other", ...
const places = catalogue[""] ?? { one: 0, other: 1 };
const rules = new Intl.PluralRules(document.documentElement.lang || "en");

/** Translate `text`; `{name}` in it is replaced by `values.name`. */
export function t(text, values = {}) {
  return filled(catalogue[text] || text, values);
}

/** Translate by number: `one` for 1, `many` otherwise, or as the language has it; `{n}` is the number. */
export function tn(one, many, n, values = {}) {
  const forms = catalogue[one];
  const text = Array.isArray(forms) ? forms[places[rules.select(n)] ?? forms.length - 1] : n === 1 ? one : many;
  return filled(text, { n: n.toLocaleString("en"), ...values });
}

function filled(text, values) {
  return text.replace(/\{(\w+)\}/g, (whole, name) => (Object.hasOwn(values, name) ? String(values[name]) : whole));
}
