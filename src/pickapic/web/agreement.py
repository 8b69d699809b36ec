"""The terms that people agree to: Markdown, in each language that comes along, or the deployment's own file.

In them `{mark_days}` and the like stand for what the settings say, so that the text cannot differ from what is done.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markupsafe import Markup

from pickapic.records import InputError
from pickapic.settings import Settings

FOLDER = Path(__file__).parent / "terms"
SOURCE = "en"
LARGEST = 256 * 1024

_PLACE = re.compile(r"\{([a-z_]+)\}")
# `{#anonymise}` to `{/}` stands only where the setting on_delete says so.
_CHOICE = re.compile(r"\{#([a-z_]+)\}(.*?)\{/\}", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Terms:
    """The terms of a deployment: their version, and their text as HTML by language; English is always there."""

    version: str
    pages: Mapping[str, Markup]

    def page(self, language: str) -> tuple[str, Markup]:
        """Return the language that the terms are shown in, and their text in it."""
        found = language if language in self.pages else SOURCE
        return found, self.pages[found]


def load_terms(settings: Settings) -> Terms:
    """Read the terms.

    Raises:
        InputError: the file of the settings cannot be read.
    """
    if settings.terms_file is not None:
        return Terms(settings.terms_version, {SOURCE: render(_read(settings.terms_file), settings)})
    pages = {
        path.stem: render(path.read_text(encoding="utf-8"), settings) for path in sorted(FOLDER.glob("*.md"))
    }
    return Terms(settings.terms_version, pages)


def render(text: str, settings: Settings) -> Markup:
    """Return Markdown as HTML. HTML in it is shown as text, and links lead only where it is safe.

    Raises:
        InputError: a placeholder that there is no value for.
    """
    values = {
        "mark_days": settings.mark_days,
        "session_days": settings.session_days,
        "free_picks": settings.free_picks,
        "version": settings.terms_version,
        "providers": ", ".join(choice.label for choice in settings.sign_in) or "–",
    }

    def filled(match: re.Match[str]) -> str:
        if match[1] not in values:
            known = ", ".join(f"{{{name}}}" for name in values)
            raise InputError(f"the terms have {match[0]}; known are {known}")
        return str(values[match[1]])

    chosen = _CHOICE.sub(lambda match: match[2] if match[1] == settings.on_delete else "", text)
    return Markup(
        MarkdownIt("commonmark", {"html": False}).enable("table").render(_PLACE.sub(filled, chosen))
    )


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > LARGEST:
            raise InputError(f"terms_file {path} has more than {LARGEST} bytes")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"terms_file {path} cannot be read: {error}") from error
