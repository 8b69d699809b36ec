"""The terms: shown in the reader's language, agreed to by version, asked again when they change."""

import pytest

from live_site import LiveSite, Visitor, sign_in, words_of
from pickapic.collect.tables import consents
from pickapic.records import InputError
from pickapic.settings import load_settings
from pickapic.web.agreement import FOLDER, load_terms, render

pytestmark = pytest.mark.slow


def test_nobody_picks_before_they_have_agreed(site, providers, ada):
    sign_in(ada, providers)
    assert ada.me()["consent_needed"] is True
    for path in ("/api/v1/duels", "/api/v1/rounds/x/pick", "/api/v1/rounds/x/skip", "/api/v1/rounds/x/undo"):
        reply = ada.post(path, {"prompt": "a cat"} if path.endswith("duels") else {"pick": "left"})
        assert (reply.status_code, reply.json()["error"]["code"]) == (403, "consent"), path
    refused = ada.post("/api/v1/me/consent", {"version": "0"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "conflict")
    assert site.rows(consents) == []
    ada.agree()
    assert ada.me()["consent_needed"] is False
    assert ada.post("/api/v1/duels", {"prompt": "a cat"}).status_code == 201
    # What concerns oneself never needs consent.
    for path in ("/api/v1/me/export", "/api/v1/me/sessions"):
        assert ada.get(path).status_code == 200


def test_new_terms_are_put_to_everybody_again(databases, tmp_path):
    home = tmp_path / "home"
    shared = {"home": home, "database_url": databases.migrated("sqlite", home)}
    with LiveSite(**shared) as site, Visitor(site) as ada:
        ada.guest()
        assert ada.me()["consent_needed"] is False
        cookies = dict(ada.client.cookies)
    with LiveSite(**shared, terms_version="2026-11") as site, Visitor(site) as ada:
        ada.client.cookies.update(cookies)
        me = ada.me()
        assert (me["consent_needed"], me["terms_version"]) == (True, "2026-11")
        assert ada.post("/api/v1/duels", {"prompt": "a cat"}).status_code == 403
        page = ada.get("/terms?next=/me")
        assert "I agree" in page.text
        outdated = ada.submit("/terms", version="1", next="/me")
        assert outdated.status_code == 409
        assert "read them again" in words_of(outdated)
        agreed = ada.submit("/terms", version="2026-11", next="/me")
        assert (agreed.status_code, agreed.headers["location"]) == (303, "/me")
        assert "I agree" not in ada.get("/terms").text
        assert ada.post("/api/v1/duels", {"prompt": "a cat"}).status_code == 201
        assert [row.version for row in site.rows(consents)] == ["1", "2026-11"]


def test_the_terms_say_what_the_settings_do(site, ada):
    english = ada.get("/terms", headers={"accept-language": "en"}).text
    assert f"{site.settings.mark_days} days after they were last seen" in english
    assert "Acme &amp; Sons, Discord" in english
    assert "stay under a number that belongs to nobody" in english
    assert "are deleted as well" not in english
    hebrew = ada.get("/terms", headers={"accept-language": "he"}).text
    assert '<div lang="he" dir="rtl">' in hebrew
    assert "תנאים ופרטיות" in hebrew
    assert hebrew.count("<li>") == english.count("<li>") > 15


def test_every_language_has_the_same_places():
    remove = load_settings(on_delete="remove", mark_days=77)
    texts = {path.stem: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.md")}
    assert {"en", "he"} <= set(texts)
    for text in texts.values():
        for name in ("mark_days", "session_days", "free_picks", "providers", "#anonymise", "#remove"):
            assert text.count("{" + name + "}") == texts["en"].count("{" + name + "}") > 0
        assert text.count("\n- ") == texts["en"].count("\n- ")
        assert "77" in render(text, remove)
        assert "{" not in render(text, remove)


def test_a_deployment_brings_its_own_terms_but_no_markup(tmp_path):
    path = tmp_path / "terms.md"
    path.write_text(
        "# Ours\n<script>alert(1)</script>\n[x](javascript:alert(1)) [y](https://example.org) {mark_days}\n"
    )
    terms = load_terms(load_settings(terms_file=path, mark_days=9))
    code, page = terms.page("he")
    assert (code, terms.version) == ("en", "1")
    assert "<h1>Ours</h1>" in page
    assert "<script>" not in page
    assert 'href="javascript' not in page
    assert 'href="https://example.org"' in page
    assert page.strip().endswith("9</p>")


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"x" * 300_000, b"for {who}"])
def test_terms_that_cannot_be_used_are_told_at_the_start(tmp_path, content):
    path = tmp_path / "terms.md"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match="terms"):
        load_terms(load_settings(terms_file=path))
