"""Languages: which one a request gets, plural forms, and catalogues that lack nothing and keep nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from string import Formatter

import pytest
from babel.messages.pofile import read_po
from hypothesis import given
from hypothesis import strategies as st

from pickapic.records import InputError
from pickapic.web import wording
from pickapic.web.languages import LOCALES, load_languages

LANGUAGES = load_languages()
HEBREW = LANGUAGES.known["he"]
# So short a sentence, or a name, may be the same in another language.
SAME_IN_ALL = {"API", "Pick-a-Pic"}


@pytest.mark.parametrize("code", sorted(path.name for path in LOCALES.iterdir() if path.is_dir()))
def test_a_catalogue_lacks_nothing_keeps_nothing_and_fills_the_same_places(code):
    """`python -m pickapic.web.wording` mends the first two; the words are up to a translator."""
    with (LOCALES / code / "LC_MESSAGES" / "messages.po").open("rb") as stream:
        catalogue = {message.id: message for message in read_po(stream, locale=code) if message.id}
    wanted = wording.find()
    assert set(catalogue) == set(wanted)
    for sentence, message in catalogue.items():
        sources = (sentence,) if isinstance(sentence, str) else sentence
        forms = (message.string,) if isinstance(message.string, str) else message.string
        assert all(form.strip() for form in forms), f"{sentence} is not translated"
        assert not message.fuzzy
        assert sentence in SAME_IN_ALL or sources[0] != forms[0], f"{sentence} is still English"
        for form in forms:
            # A form for one or two things may do without the number itself.
            assert _places(form) | {"n"} == _places(sources[-1]) | {"n"}, form
        assert _places(forms[-1]) == _places(sources[-1]), forms[-1]
        # Scripts get what the comments say is theirs.
        assert _is_for_scripts(name for name, _ in message.locations) == _is_for_scripts(wanted[sentence])


def _is_for_scripts(places: Iterable[str]) -> bool:
    return any(place.startswith("static/") for place in places)


def _places(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


def test_sentences_are_found_wherever_they_stand(tmp_path, monkeypatch):
    web = tmp_path / "web"
    files = {
        "templates/a.html": "{{ _('Page') }}{% block b %}{{ ngettext('{n} cat', '{n} cats', n) }}{% endblock %}",
        "static/a.js": "const a = x ? t('Script', { a: 1 }) : `${t(\"Inner\")}`;\n"
        "tn('{n} dog', '{n} dogs', n); at('no')",
        "a.py": 'FAR = "Far " "away"\ndef f(x):\n    raise ConflictError(FAR if x else translatable("Near"), a=1)\n'
        'def g(language):\n    return language.text("Said")\n',
        "b.py": 'def f():\n    raise ForbiddenError("code", "Not you")\n',
    }
    for name, text in files.items():
        path = web / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(wording, "WEB", web)
    monkeypatch.setattr(wording, "PYTHON", (web,))
    assert wording.find() == {
        "Far away": ("a.py",),
        "Inner": ("static/a.js",),
        "Near": ("a.py",),
        "Not you": ("b.py",),
        "Page": ("templates/a.html",),
        "Said": ("a.py",),
        "Script": ("static/a.js",),
        ("{n} cat", "{n} cats"): ("templates/a.html",),
        ("{n} dog", "{n} dogs"): ("static/a.js",),
    }
    (web / "c.py").write_text('def f(n):\n    raise ConflictError(f"{n} is too much")\n')
    with pytest.raises(InputError, match=r"c\.py:2"):
        wording.find()


def test_every_call_in_a_script_or_template_is_read():
    """A second, cruder count: the lexer must not lose its way in some script."""
    calls = {"static": r"\btn?\(\s*[\"'`]([^\"'`]+)", "templates": r"(?:\b_|\bngettext)\(\s*[\"']([^\"']+)"}
    known = {sentence if isinstance(sentence, str) else sentence[0] for sentence in wording.find()}
    for folder, call in calls.items():
        for path in sorted((wording.WEB / folder).rglob("*.*")):
            if path.suffix in (".js", ".html"):
                said = re.findall(call, path.read_text())
                assert [text for text in said if not any(one.startswith(text) for one in known)] == [], path


def test_an_update_keeps_what_is_translated_and_drops_what_is_gone(tmp_path):
    path = tmp_path / "he" / "LC_MESSAGES" / "messages.po"
    assert (
        wording.update(path, {"Stay": ("a.html",), "Go": ("b.html",), ("{n} cat", "{n} cats"): ("c.js",)})
        == 3
    )
    path.write_text(path.read_text().replace('msgid "Stay"\nmsgstr ""', 'msgid "Stay"\nmsgstr "נשאר"'))
    assert wording.update(path, {"Stay": ("a.html",), "New": ("b.html",)}) == 1
    with path.open("rb") as stream:
        catalogue = read_po(stream, locale="he")
    assert {message.id: message.string for message in catalogue if message.id} == {"Stay": "נשאר", "New": ""}
    before = path.read_text()
    wording.update(path, {"Stay": ("a.html",), "New": ("b.html",)})
    assert path.read_text() == before


@pytest.mark.parametrize(
    ("cookie", "accepted", "code"),
    [
        ("", "", "en"),
        ("he", "en", "he"),
        ("xx", "he", "he"),
        ("", "he-IL,he;q=0.9,en-US;q=0.8,en;q=0.7", "he"),
        ("", "fr, en;q=0.5, he;q=0.7", "he"),
        ("", "he;q=0, en;q=0.1", "en"),
        ("", "fr;q=x, *, ;;;, he;q=0.3", "he"),
        ("../../etc", "../..", "en"),
    ],
)
def test_the_cookie_comes_first_then_the_browser(cookie, accepted, code):
    assert LANGUAGES.negotiate(cookie, accepted).code == code


@given(st.text(max_size=80), st.text(max_size=20))
def test_no_header_is_an_error(accepted, cookie):
    assert LANGUAGES.negotiate(cookie, accepted).code in LANGUAGES.known


def test_forms_follow_the_number(tmp_path):
    path = tmp_path / "he" / "LC_MESSAGES" / "messages.po"
    days = {("{n} day of {all}", "{n} days of {all}"): ("static/a.js",)}
    wording.update(path, days)
    rule = "nplurals=3; plural=(n == 1 ? 0 : n == 2 ? 1 : 2);"
    path.write_text(re.sub(r"nplurals=.*?(?=\\n)", rule, path.read_text()))
    assert wording.update(path, days) == 1
    for form, text in enumerate(["יום אחד מתוך {all}", "יומיים מתוך {all}", "{n} ימים מתוך {all}"]):
        path.write_text(path.read_text().replace(f'msgstr[{form}] ""', f'msgstr[{form}] "{text}"'))
    hebrew, english = (load_languages(tmp_path).known[code] for code in ("he", "en"))
    said = [hebrew.number("{n} day of {all}", "{n} days of {all}", n, all=9) for n in (1, 2, 3, 11, 2000)]
    assert said == ["יום אחד מתוך 9", "יומיים מתוך 9", "3 ימים מתוך 9", "11 ימים מתוך 9", "2,000 ימים מתוך 9"]
    assert [english.number("{n} day", "{n} days", n) for n in (0, 1, 2)] == ["0 days", "1 day", "2 days"]
    script = json.loads(hebrew.script)
    assert script[""] == {"one": 0, "two": 1, "other": 2}
    assert script["{n} day of {all}"][1] == "יומיים מתוך {all}"


def test_values_are_escaped_in_pages_and_scripts(tmp_path):
    path = tmp_path / "he" / "LC_MESSAGES" / "messages.po"
    wording.update(path, {"</script><b>": ("static/a.js",)})
    path.write_text(
        path.read_text().replace('msgstr ""\n', 'msgstr "</script><i>"\n').replace('""\n"MIME', '""\n"MIME')
    )
    language = load_languages().known["en"]
    assert language.markup("See {what}", what="<b>") == "See &lt;b&gt;"
    assert "<" not in HEBREW.script


def test_people_choose_their_language_by_a_form(on):
    async def play(site):
        person = await site.person()
        page = (await person.get("/about")).text
        assert '<html lang="en" dir="ltr">' in page
        token = re.search(r'name="csrf" value="([^"]+)"', page)
        assert token is not None
        form = {"language": "he", "next": "/about"}
        refused = await person.client.post("/language", data=form)
        assert refused.status_code == 403
        reply = await person.client.post("/language", data=form | {"csrf": token[1]})
        assert (reply.status_code, reply.headers["location"]) == (303, "/about")
        cookie = reply.headers["set-cookie"]
        assert "language=he" in cookie
        assert "Max-Age=31536000" in cookie
        assert "samesite=lax" in cookie.lower()
        assert '<html lang="he" dir="rtl">' in (await person.get("/about")).text
        refusal = (await person.get("/api/v1/duels/none")).json()["error"]["message"]
        assert refusal == HEBREW.text("You have no such duel.") != "You have no such duel."
        await person.client.post("/language", data={"language": "xx", "csrf": token[1]})
        assert "language" not in person.client.cookies

    on(play)


def test_strangers_are_answered_in_their_browsers_language(on):
    async def play(site):
        async with site.client() as client:
            hebrew = {"Accept-Language": "he-IL,he;q=0.9", "Accept": "text/html"}
            missing = await client.get("/nowhere", headers=hebrew)
            assert '<html lang="he" dir="rtl">' in missing.text
            signed_out = await client.get("/api/v1/me", headers=hebrew)
            assert signed_out.json()["error"]["message"] == HEBREW.text("Please sign in first.")

    on(play)
