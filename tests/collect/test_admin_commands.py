"""`pickapic admin`: what moderators and admins do, from the terminal."""

import io
import json
import re
from datetime import UTC, datetime

import pytest
from PIL import Image
from sqlalchemy import select

from pickapic.cli.app import main
from pickapic.collect.moderation import reviews
from pickapic.collect.oversight import reports
from pickapic.collect.people import tokens
from pickapic.collect.prompts import parse_prompt
from pickapic.collect.queue import breakers, workers
from pickapic.collect.tables import jobs, users


@pytest.fixture
def admin(database_url, capsys):
    def run(*arguments: str, code: int = 0):
        with pytest.raises(SystemExit) as left:
            main(["admin", *arguments, "--json", "--database", database_url])
        said = capsys.readouterr()
        assert left.value.code == code, said.err
        return json.loads(said.out) if code == 0 else said.err

    return run


def row(hands, user):
    return hands.read(lambda connection: connection.execute(select(users).where(users.c.id == user)).one())


def test_the_first_admin_is_made_and_users_are_decided_about(hands, admin):
    chief, other = hands.guest(), hands.guest()
    assert admin("role", str(chief), "admin") == {
        "user_id": chief,
        "status": "active",
        "role": "admin",
        "duels_closed": 0,
        "jobs_cancelled": 0,
    }
    hands.start(other)
    banned = admin("ban", str(other), "--reason", "a script")
    assert (banned["status"], banned["duels_closed"], banned["jobs_cancelled"]) == ("banned", 1, 6)
    assert [one["user_id"] for one in admin("users", "--show", "banned")] == [other]
    for action, status in (("exclude", "excluded"), ("trust", "trusted"), ("unban", "active")):
        assert admin(action, str(other), "--reason", "looked at")["status"] == status
    assert admin("allow", str(other), "500") == {"user_id": other, "allowance": 500}
    assert row(hands, other).allowance == 500
    profile = admin("users", str(other))
    assert (profile["allowance"], profile["habits"]["answers"]) == (500, 0)
    log = admin("decisions", "--user", str(other))
    assert [one["action"] for one in log] == ["allow 500", "unban", "trust", "exclude", "ban"]
    assert {one["actor_id"] for one in log} == {None}
    assert len(admin("decisions", "--limit", "2")) == 2


def test_what_cannot_be_is_said_and_leaves_with_one(hands, admin):
    user = str(hands.guest())
    assert "error: There is no user 99" in admin("ban", "99", "--reason", "x", code=1)
    assert "error: Say why" in admin("ban", user, "--reason", " ", code=1)
    assert "no generator called nobody" in admin("generators", "off", "nobody", code=1)
    assert "no such image" in admin("reports", "remove", "nothing", code=1)
    assert "no such prompt" in admin("reviews", "approve", "nothing", code=1)
    assert "no such pair" in admin("gold", "retire", "nothing", code=1)
    assert "ban" in admin("ban", user, code=2)
    assert row(hands, int(user)).status == "active"


def test_reports_are_upheld_and_dismissed(hands, admin):
    user = hands.guest()
    uid = hands.start(user)
    hands.make()
    view = hands.view(user, uid)
    for shown in (view.round.left, view.round.right):
        hands.write(
            reports.report,
            user,
            shown.token,
            "nudity",
            "look",
            hands.settings.generators,
            hands.now,
            hands.rng,
        )
    first, second = admin("reports", "list")
    assert (first["token"], first["notes"]) == (view.round.left.token, ["look"])
    removed = admin("reports", "remove", first["token"], "--reason", "bare", "--ban")
    assert removed == {"token": first["token"], "user_id": user}
    assert row(hands, user).status == "banned"
    admin("reports", "dismiss", second["token"])
    assert admin("reports", "list") == []


def test_prompts_in_review_are_decided(hands, admin):
    user = hands.guest()
    for typed in ("a cat", "a dog"):
        digest = reviews.digest_of(parse_prompt(typed, 500))
        hands.write(reviews.hold, reviews.ReviewError(user, typed, digest, ()), hands.now)
    first, second = admin("reviews", "list")
    assert first["typed"] == "a cat"
    assert admin("reviews", "approve", first["uid"])["settled"] == 1
    assert not admin("reviews", "refuse", second["uid"], "--reason", "no")["approved"]
    assert admin("reviews", "list") == []


def test_generators_are_switched_and_weighed(hands, admin):
    hands.start(hands.guest())
    queued = hands.rows(jobs)[0].generator
    off = admin("generators", "off", queued, "--reason", "black images")
    assert (off["enabled"], off["passed_on"] >= 1) == (False, True)
    assert queued not in {job.generator for job in hands.rows(jobs)}
    admin("generators", "weight", queued, "2.5")
    states = {one["state"]["name"]: one["state"] for one in admin("generators", "list")}
    assert (states[queued]["enabled"], states[queued]["weight"]) == (False, 2.5)
    admin("generators", "weight", queued)
    assert admin("generators", "on", queued)["enabled"]


def test_a_benched_generator_is_listed_and_tried_at_once(hands, admin):
    name = hands.settings.generators[0].name
    rules = hands.settings.model_copy(update={"breaker_failures": 1})
    hands.write(breakers.failed, name, "status 503", rules, datetime.now(UTC))
    listed = {one["state"]["name"]: one["breaker"] for one in admin("generators", "list")}
    assert (listed.pop(name)["error"], set(listed.values())) == ("status 503", {None})
    assert admin("generators", "try", name)["was_benched"]
    assert not admin("generators", "try", name)["was_benched"]


def picture(path, size, colour, **options):
    Image.new("RGB", size, colour).save(path, **options)
    return str(path)


def test_a_gold_pair_is_added_listed_and_retired(hands, admin, tmp_path, monkeypatch):
    monkeypatch.setenv("PICKAPIC_IMAGES_URL", str(tmp_path / "store"))
    exif = Image.Exif()
    exif[0x010E] = "a secret description"
    better = picture(tmp_path / "better.jpg", (96, 64), "red", exif=exif)
    worse = picture(tmp_path / "worse.webp", (64, 64), "grey")
    pair = admin("gold", "add", better, worse, "--caption", "a red square")["pair"]
    (listed,) = admin("gold", "list")
    assert (listed["uid"], listed["caption"], listed["state"]) == (pair, "a red square", "active")
    key = listed["better_sha256"]
    stored = (tmp_path / "store" / key[:2] / key).read_bytes()
    with Image.open(io.BytesIO(stored)) as image:
        assert (image.format, image.size, image.info) == ("PNG", (96, 64), {})
    assert admin("gold", "retire", pair)["state"] == "retired"
    text = tmp_path / "text.png"
    text.write_text("no image")
    assert "cannot be read" in admin("gold", "add", better, str(text), "--caption", "x", code=1)
    assert "the same file" in admin("gold", "add", better, better, "--caption", "x", code=1)


def test_tokens_are_made_listed_and_revoked(hands, admin):
    made = admin("tokens", "create", "worker", "gpu 1", "--days", "30")
    assert made["token"].startswith("pickapic_worker_")
    (listed,) = admin("tokens", "list")
    assert (listed["uid"], listed["label"], listed["state"]) == (made["uid"], "gpu 1", "active")
    assert made["token"] not in json.dumps(listed)
    holder = hands.read(tokens.machine, made["token"], datetime.now(UTC))
    hands.write(workers.note, f"{made['uid']}:box", ("a", "b"), holder.token_id, datetime.now(UTC))
    (seen,) = admin("workers")
    assert (seen["name"], seen["generators"], seen["token_label"]) == (
        f"{made['uid']}:box",
        ["a", "b"],
        "gpu 1",
    )
    gone = admin("tokens", "revoke", made["uid"], "--reason", "stolen")
    assert gone == {"uid": made["uid"], "state": "revoked", "jobs_given_back": 0}
    assert admin("tokens", "list")[0]["state"] == "revoked"
    assert "no token nothing" in admin("tokens", "revoke", "nothing", code=1)
    assert "1 to 64" in admin("tokens", "create", "worker", " ", code=1)
    assert "root" in admin("tokens", "create", "root", "x", code=2)


def test_a_new_token_alone_goes_to_stdout(database_url, capsys):
    with pytest.raises(SystemExit):
        main(["admin", "tokens", "create", "score", "ci", "--database", database_url])
    said = capsys.readouterr()
    assert re.fullmatch(r"pickapic_score_[\w-]{43}\n", said.out)
    assert said.out.strip() not in said.err
    assert "not shown again" in said.err
    for command in (["tokens", "list"], ["workers"]):
        with pytest.raises(SystemExit) as left:
            main(["admin", *command, "--database", database_url])
        assert left.value.code == 0
