"""An image store that is away, or wrong: what a server says at its start, and to whoever wants an image."""

import json
import shutil

import obstore
import pytest
from obstore.exceptions import GenericError
from web_site import Site

from pickapic.cli.app import main
from pickapic.records import InputError
from pickapic.storage import health
from pickapic.storage.failures import StoreError


def test_an_image_that_cannot_be_read_now_is_asked_for_again_later(on, monkeypatch):
    async def refuse(*_):
        raise GenericError("Generic S3 error ... status code: 503 Slow Down: <Code>SlowDown</Code>")

    async def play(site):
        person = await site.person()
        duel = await person.start()
        await site.work()
        url = (await person.read(duel))["round"]["images"][0]["url"]
        with monkeypatch.context() as patch:
            patch.setattr(obstore, "get_async", refuse)
            reply = await person.get(url)
            assert (reply.status_code, reply.headers["retry-after"]) == (503, "2")
            assert reply.json()["error"] == {
                "code": "busy",
                "message": "The image store does not answer; try again.",
            }
        reply = await person.get(url)
        assert (reply.status_code, reply.content[:2]) == (200, b"\xff\xd8")

    on(play)


def test_an_image_whose_file_is_gone_is_not_found(on, settings):
    async def play(site):
        person = await site.person()
        duel = await person.start()
        await site.work()
        url = (await person.read(duel))["round"]["images"][0]["url"]
        shutil.rmtree(settings.home / "images")
        assert (await person.get(url)).status_code == 404

    on(play)


def test_a_server_does_not_start_with_a_key_that_is_wrong(on, settings, monkeypatch):
    async def refuse(*_, **__):
        raise GenericError("Server returned ... 403 Forbidden: <Code>SignatureDoesNotMatch</Code>")

    monkeypatch.setattr(health.obstore, "put_async", refuse)

    async def play(_):
        raise AssertionError("it started")

    with pytest.raises(InputError, match=r"the key is missing, wrong or expired \(SignatureDoesNotMatch\)"):
        on(play, Site(settings))


def test_the_settings_are_checked_by_trying(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PICKAPIC_HOME", str(tmp_path / "home"))
    main_ends(0, "settings", "--check", "--json")
    assert json.loads(capsys.readouterr().out) == {"database": "ok", "images": "ok"}

    async def refuse(_):
        raise StoreError("write", "missing", "NoSuchBucket")

    monkeypatch.setattr(health, "try_everything", refuse)
    main_ends(1, "settings", "--check")
    assert "the bucket does not exist" in " ".join(capsys.readouterr().out.split())


def main_ends(code: int, *arguments: str) -> None:
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    assert end.value.code == code
