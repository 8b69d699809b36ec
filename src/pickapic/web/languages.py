"""The languages of the pages: which one a request is answered in, and the words of each.

English is the source: its sentences are the keys of the catalogues, which are gettext files,
`locales/<language>/LC_MESSAGES/messages.po`, read as they are when the app starts.
"""

from __future__ import annotations

import gettext
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from babel import Locale
from babel.dates import format_date
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po
from markupsafe import Markup, escape
from starlette.requests import HTTPConnection, Request
from starlette.types import Scope

from pickapic.records import InputError

LOCALES = Path(__file__).parent / "locales"
SOURCE = "en"
COOKIE = "language"
# Enough numbers to meet every form that a language has for counting things.
COUNTS = range(200)


@dataclass(frozen=True, slots=True, eq=False)
class Language:
    """A language: `messages` has one form a sentence, or as many as `plural` tells apart.

    `name` is the language's own. `direction` is `ltr` or `rtl`. `script` is what static/language.js reads, as JSON that
    is safe between script tags.
    """

    code: str
    name: str
    direction: str
    messages: Mapping[str, tuple[str, ...]]
    plural: Callable[[int], int]
    script: Markup

    def text(self, template: str, **values: object) -> str:
        """Return `template` in this language; `{name}` in it becomes `values["name"]`."""
        found = self.messages.get(template, (template,))[0]
        return found.format(**values) if values else found

    def number(self, one: str, many: str, n: int, **values: object) -> str:
        """Return the form for `n` things; `{n}` in it is the number, with separators of thousands."""
        return self._form(one, many, n).format(**{"n": f"{n:,}", **values})

    def markup(self, template: str, **values: object) -> str:
        """Return `template` for a page: values are escaped unless they are Markup, and may then be links."""
        if not values:
            return self.text(template)
        return Markup(escape(self.text(template))).format(**values)

    def number_markup(self, one: str, many: str, n: int, **values: object) -> str:
        """Return the form for `n` things for a page; see `markup`."""
        return Markup(escape(self._form(one, many, n))).format(**{"n": f"{n:,}", **values})

    def day(self, when: datetime) -> str:
        """Return the date as people write it."""
        return format_date(when, "long", locale=self.code)

    def _form(self, one: str, many: str, n: int) -> str:
        forms = self.messages.get(one, ())
        return forms[self.plural(n)] if len(forms) > 1 else (one, many)[n != 1]


@dataclass(frozen=True, slots=True, eq=False)
class Languages:
    """All languages that there are, by code; English first."""

    known: Mapping[str, Language]

    def of(self, scope: Scope) -> Language:
        """Return the language that a request is answered in: its cookie's, else the browser's, else English."""
        connection = HTTPConnection(scope)
        return self.negotiate(
            connection.cookies.get(COOKIE, ""), connection.headers.get("accept-language", "")
        )

    def negotiate(self, cookie: str, accepted: str) -> Language:
        """Return the language named by `cookie`, else the best of an Accept-Language header, else English."""
        for code in (cookie, *_by_wish(accepted)):
            found = self.known.get(code) or self.known.get(code.partition("-")[0])
            if found is not None:
                return found
        return self.known[SOURCE]


def load_languages(folder: Path = LOCALES) -> Languages:
    """Read all catalogues.

    Raises:
        InputError: a catalogue cannot be read, or its folder names no language.
    """
    source = Catalog(locale=SOURCE)
    languages = [_language(SOURCE, source)]
    for path in sorted(folder.glob("*/LC_MESSAGES/messages.po")):
        code = path.parts[-3]
        try:
            with path.open("rb") as stream:
                languages.append(_language(code, read_po(stream, locale=code, abort_invalid=True)))
        except (ValueError, LookupError) as error:  # babel's errors are of these kinds
            raise InputError(f"{path} cannot be read: {error}") from error
    return Languages({language.code: language for language in languages})


def language_of(request: HTTPConnection) -> Language:
    """Return the language that a request is answered in."""
    languages: Languages = request.app.state.languages
    return languages.of(request.scope)


def words(request: Request) -> dict[str, Any]:
    """Return what every template has to speak, and for the forms in it: the CSRF token and the page's own path."""
    language = language_of(request)
    return {
        "_": language.markup,
        "ngettext": language.number_markup,
        "day": language.day,
        "language": language,
        "direction": language.direction,
        "languages": tuple(request.app.state.languages.known.values()),
        "csrf": request.scope.get("pickapic.csrf", ""),
        "here": request.url.path + (f"?{request.url.query}" if request.url.query else ""),
    }


def _language(code: str, catalog: Catalog) -> Language:
    locale = Locale.parse(code)
    messages: dict[str, tuple[str, ...]] = {}
    scripts: dict[str, Any] = {}
    for message in catalog:
        forms = message.string if isinstance(message.string, tuple | list) else (message.string,)
        if not message.id or message.fuzzy or not all(forms):
            continue
        one = message.id[0] if isinstance(message.id, tuple | list) else message.id
        messages[one] = tuple(str(form) for form in forms)
        if any(name.startswith("static/") for name, _ in message.locations):
            scripts[one] = list(messages[one]) if message.pluralizable else messages[one][0]
    plural = gettext.c2py(catalog.plural_expr)
    # A script has the browser's word for a number, not the catalogue's: "one", "two", "other".
    scripts[""] = {locale.plural_form(n): plural(n) for n in COUNTS}
    script = Markup(json.dumps(scripts, ensure_ascii=False).replace("<", "\\u003c"))
    name = locale.get_display_name(code) or code
    return Language(code, name, locale.text_direction, messages, plural, script)


def _by_wish(header: str) -> list[str]:
    """Return the languages of an Accept-Language header, the most wanted first; what is malformed is left out."""
    wishes: list[tuple[float, str]] = []
    for part in header.lower().split(","):
        code, _, weight = part.strip().partition(";")
        try:
            wished = float(weight.strip().removeprefix("q=") or 1)
        except ValueError:
            continue
        if code.strip() and wished > 0:
            wishes.append((wished, code.strip()))
    return [code for _, code in sorted(wishes, key=lambda wish: -wish[0])]
