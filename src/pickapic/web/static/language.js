// The words of the page in its reader's language. English text is the key, as in gettext.

const catalogue = JSON.parse(document.getElementById("catalogue")?.textContent || "{}");

/** Translate `text`; `{name}` in it is replaced by `values.name`. */
export function t(text, values = {}) {
  return filled(catalogue[text] || text, values);
}

/** Translate by number: `one` for 1, `many` otherwise, or as the language has it; `{n}` is the number. */
export function tn(one, many, n, values = {}) {
  const forms = catalogue[one];
  const text = Array.isArray(forms) ? forms[form(n)] : n === 1 ? one : many;
  return filled(text, { n, ...values });
}

function form(n) {
  return n === 1 ? 0 : 1;
}

function filled(text, values) {
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}
