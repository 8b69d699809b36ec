"""All that there is to translate, found in templates, scripts and refusals; and catalogues brought up to date with it.

python -m pickapic.web.wording        # every catalogue gets the new sentences, still empty, and loses the old ones
python -m pickapic.web.wording fr     # begin a new one
"""

from __future__ import annotations

import ast
import io
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from babel import Locale
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_javascript
from babel.messages.plurals import get_plural
from babel.messages.pofile import read_po, write_po
from jinja2.ext import babel_extract

from pickapic.records import InputError
from pickapic.web.languages import LOCALES

WEB = Path(__file__).parent
# Refusals are written where things are refused: nowhere else.
PYTHON = (WEB.parent / "collect", WEB)
SCRIPT_WORDS = {"t": (1,), "tn": (1, 2)}
PAGE_WORDS = {"_": (1,), "ngettext": (1, 2)}
# Which argument is the template.
REFUSALS = {
    "PromptError": 0,
    "NotFoundError": 0,
    "ConflictError": 0,
    "LimitError": 0,
    "ForbiddenError": 1,
    "translatable": 0,
    "HTTPException": 1,
}
# Here a number in the sentence is not worth a template of its own: what is no literal stays English.
LOOSE = frozenset({"HTTPException"})
# Methods of `languages.Language`, called with a literal.
SPOKEN = {"text": 1, "markup": 1, "number": 2, "number_markup": 2}
# A refusal that is passed on, or made from what a judgement said, has its template here.
PASSED_ON = frozenset({"template", "reason", "message"})

Sentence = str | tuple[str, str]
"""One text, or the forms for one and for many."""


@dataclass(frozen=True, slots=True)
class Found:
    """A sentence and the file that it stands in, from the folder of `pickapic.web` on."""

    sentence: Sentence
    place: str


def find() -> dict[Sentence, tuple[str, ...]]:
    """Return every sentence that there is to translate, and the files that it stands in.

    Raises:
        InputError: a refusal whose words cannot be read off the source, for instance an f-string.
    """
    places: dict[Sentence, set[str]] = {}
    for found in (*_in_templates(), *_in_scripts(), *_in_python()):
        places.setdefault(found.sentence, set()).add(found.place)
    return {sentence: tuple(sorted(places[sentence])) for sentence in sorted(places, key=_first)}


def update(path: Path, sentences: dict[Sentence, tuple[str, ...]]) -> int:
    """Bring a catalogue up to date, or begin it, and return how many sentences it still lacks."""
    code = path.parts[-3]
    if path.exists():
        with path.open("rb") as stream:
            known = read_po(stream, locale=code, abort_invalid=True)
        header = path.read_text(encoding="utf-8").partition("\n\n")[0]
    else:
        known, header = Catalog(locale=code), _header(code)
    fresh = Catalog(locale=code, fuzzy=False)
    fresh.mime_headers = known.mime_headers  # with the number of plural forms
    missing = 0
    for sentence, files in sentences.items():
        before = known.get(_first(sentence))
        same_kind = before is not None and isinstance(before.id, str) == isinstance(sentence, str)
        kept = before.string if before is not None and same_kind else ""
        missing += not kept or not all(kept)
        fresh.add(sentence, kept, locations=[(file, 1) for file in files])
    text = io.BytesIO()
    write_po(text, fresh, width=100, omit_header=True, include_lineno=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{header}\n\n{text.getvalue().decode()}".rstrip() + "\n", encoding="utf-8")
    return missing


def _first(sentence: Sentence) -> str:
    return sentence if isinstance(sentence, str) else sentence[0]


def _header(code: str) -> str:
    name = Locale.parse(code).english_name
    forms = get_plural(code).plural_forms
    lines = ("MIME-Version: 1.0", "Content-Type: text/plain; charset=utf-8")
    lines += ("Content-Transfer-Encoding: 8bit", f"Language: {code}", f"Plural-Forms: {forms}")
    return "\n".join(
        (f"# {name} for Pick-a-Pic.", 'msgid ""', 'msgstr ""', *(f'"{line}\\n"' for line in lines))
    )


def _in_templates() -> Iterator[Found]:
    for path in sorted((WEB / "templates").rglob("*.html")):
        with path.open("rb") as stream:
            for _, word, said, _ in babel_extract(stream, list(PAGE_WORDS), (), {"encoding": "utf-8"}):
                yield Found(_sentence(said, len(PAGE_WORDS[str(word)])), _place(path))


def _in_scripts() -> Iterator[Found]:
    for path in sorted((WEB / "static").rglob("*.js")):
        with path.open("rb") as stream:
            options: Any = {"encoding": "utf-8", "jsx": False, "parse_template_string": True}
            for _, word, said, _ in extract_javascript(stream, SCRIPT_WORDS, (), options):
                yield Found(_sentence(said, len(SCRIPT_WORDS[str(word)])), _place(path))


def _sentence(said: Any, forms: int) -> Sentence:
    """Return the sentence of a call: its first string, or its first two."""
    texts: list[Any] = list(said) if isinstance(said, tuple | list) else [said]
    return str(texts[0]) if forms == 1 else (str(texts[0]), str(texts[1]))


def _in_python() -> Iterator[Found]:
    for folder in PYTHON:
        for path in sorted(folder.rglob("*.py")):
            if path.name not in ("refusals.py", "languages.py", "wording.py"):
                yield from _in_module(path)


def _in_module(path: Path) -> Iterator[Found]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    constants = {
        target.id: text
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name) and (text := _literal(node.value, {})) is not None
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name in REFUSALS and len(node.args) > REFUSALS[name]:
            for template in _branches(node.args[REFUSALS[name]]):
                text = _literal(template, constants)
                if text is not None:
                    yield Found(text, _place(path))
                elif name not in LOOSE and not _stands_elsewhere(template):
                    where = f"{_place(path)}:{template.lineno}"
                    raise InputError(
                        f"{where}: the words of {name} must be a literal, so that they can be translated"
                    )
        elif (
            isinstance(node.func, ast.Attribute)
            and node.func.attr in SPOKEN
            and _is_language(node.func.value)
        ):
            forms = [_literal(part, constants) for part in node.args[: SPOKEN[node.func.attr]]]
            texts = [text for text in forms if text is not None]
            if len(texts) == SPOKEN[node.func.attr]:
                yield Found(_sentence(texts, len(texts)), _place(path))


def _stands_elsewhere(node: ast.expr) -> bool:
    """Return whether a template is passed on, or a constant of another module, where `translatable` marks it."""
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    return name.isupper() or (isinstance(node, ast.Attribute) and name in PASSED_ON)


def _is_language(node: ast.expr) -> bool:
    """Return whether words are asked of this: `language`, `self.language` or `language_of(...)`."""
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id == "language_of"
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    return name in ("language", "_language")


def _branches(node: ast.expr) -> Iterable[ast.expr]:
    return (node.body, node.orelse) if isinstance(node, ast.IfExp) else (node,)


def _literal(node: ast.expr, constants: dict[str, str]) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.Name):
        return constants.get(node.id)
    is_marked = (
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "translatable"
    )
    return _literal(node.args[0], constants) if isinstance(node, ast.Call) and is_marked else None


def _place(path: Path) -> str:
    within = path.relative_to(WEB) if path.is_relative_to(WEB) else path.relative_to(WEB.parent)
    return within.as_posix()


def main(codes: list[str]) -> None:
    """Update the catalogues of `codes`, or all that there are."""
    sentences = find()
    there = sorted(path.name for path in LOCALES.iterdir() if path.is_dir())
    for code in codes or there:
        missing = update(LOCALES / code / "LC_MESSAGES" / "messages.po", sentences)
        print(f"{code}: {len(sentences)} sentences, {missing} to translate")  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])
