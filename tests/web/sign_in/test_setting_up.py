"""What docs/sign-in.md tells a deployment to write is what the app takes; and what it must not start with."""

import re
from pathlib import Path

import pytest

from pickapic.collect.people.forgetting import TIES
from pickapic.records import InputError
from pickapic.settings import load_settings
from pickapic.settings.providers import RESERVED
from pickapic.web.sign_in import make_providers

pytestmark = pytest.mark.slow

DOCS = Path(__file__).parents[3] / "docs"
CHOICE = {"client_id": "x", "client_secret": "hunter2"}


def test_the_example_of_the_page_loads(tmp_path, monkeypatch):
    (example,) = re.findall(r"```toml\n(.*?)```", (DOCS / "sign-in.md").read_text(), re.DOTALL)
    path = tmp_path / "pickapic.toml"
    path.write_text(example.replace('secret_key = "..."', 'secret_key = "Qz7-kWv2_pLm9XtR4sBn8YhC3dFg6JaE"'))
    monkeypatch.setenv("PICKAPIC_CONFIG", str(path))
    settings = load_settings()
    assert [(one.name, one.kind, one.label) for one in settings.sign_in] == [
        ("google", "oidc", "Google"),
        ("discord", "discord", "Discord"),
        ("work", "oidc", "Example Ltd"),
    ]
    assert settings.allow_guests is False
    assert settings.admins == ("you@example.org",)
    found = make_providers(settings)
    assert {one.redirect_uri for one in found.values()} == {
        f"https://pick.example.org/auth/{name}/callback" for name in found
    }


@pytest.mark.parametrize(
    "wrong",
    [
        {"sign_in": {"google": CHOICE}},
        *({"sign_in": {name: CHOICE}, "public_url": "http://localhost"} for name in sorted(RESERVED)),
        {"sign_in": {"a/b": CHOICE}, "public_url": "http://localhost"},
        {"sign_in": {"work": CHOICE}, "public_url": "http://localhost"},
        {"sign_in": {"work": {**CHOICE, "issuer": "http://evil.example"}}, "public_url": "http://localhost"},
        {"sign_in": {"google": {"client_id": "x"}}, "public_url": "http://localhost"},
        {"public_url": "https://pick.example.org/path"},
        {"public_url": "javascript:alert(1)"},
    ],
    ids=lambda wrong: " ".join([*wrong, *wrong.get("sign_in", ())]),
)
def test_settings_that_cannot_work_are_refused_without_showing_secrets(wrong):
    with pytest.raises(InputError) as refused:
        load_settings(**wrong)
    assert "hunter2" not in str(refused.value)


def test_the_page_on_privacy_names_every_table_that_people_are_in():
    page = (DOCS / "privacy.md").read_text()
    for table in (
        *(one.name for one in TIES),
        "identities",
        "reports",
        "prompt_reviews",
        "decisions",
        "users",
    ):
        assert f"`{table}`" in page, table
