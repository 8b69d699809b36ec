"""Which picks an export takes, what its card says of the others, and that an update follows every change."""

import json
from collections import Counter
from datetime import timedelta

import pytest
from collection import START, Collection
from sqlalchemy import select, update

from pickapic.cli.app import main
from pickapic.collect.export import Rules, anonymous_id, count_picks, export, rules_from
from pickapic.collect.moderation.words import open_index
from pickapic.collect.quality import Policy, fingerprint
from pickapic.collect.quality.policy import changed
from pickapic.collect.tables import images, risks, rounds, users
from pickapic.dataset.manifest import LeftOut, damage, load
from pickapic.dataset.read import read
from pickapic.records import InputError
from pickapic.settings import load_settings

pytestmark = pytest.mark.slow

SECRET = "a secret of forty characters, more or less"
POLICY = Policy()
BANNED, EXCLUDED, VISITOR, HASTY, TRUSTED, HONEST = range(1, 7)


@pytest.fixture
def collection(tmp_path):
    """Six people with twelve picks each, and one round of the honest one's each that does not count."""
    made = Collection(tmp_path)
    for user in range(6):
        made.add([f"a duck in hat {user}", "a prompt that all type", f"a third {user}"])
    made.write(decide)
    return made


def decide(connection):
    for user, status in ((BANNED, "banned"), (EXCLUDED, "excluded"), (TRUSTED, "trusted")):
        connection.execute(update(users).where(users.c.id == user).values(status=status))
    connection.execute(update(users).where(users.c.id == VISITOR).values(kind="visitor"))
    # Everybody takes their time but two, of whom one is trusted.
    connection.execute(update(rounds).values(response_ms=3000))
    connection.execute(update(rounds).where(rounds.c.user_id.in_((HASTY, TRUSTED))).values(response_ms=200))


def run(collection, out, rules, **options):
    return export(collection.database_url, collection.images_url, out, secret=SECRET, rules=rules, **options)


def people(out):
    known = {anonymous_id(SECRET, user): user for user in range(1, 7)}
    return {known[number] for number in read(out, columns=["user_id"])["user_id"].to_pylist()}


def reasons(done):
    return {item.reason: item.count for item in done.left_out}


def answered(collection):
    return len(collection.expected)


def test_everybody_who_counts_is_in_and_the_others_are_listed(collection, tmp_path):
    done = run(collection, tmp_path / "out", Rules(POLICY))
    assert people(tmp_path / "out") == {TRUSTED, HONEST}
    assert reasons(done) == {
        "the person had not signed in: the free prompt": 12,
        "the person is banned": 12,
        "an admin left the person out": 12,
        "the person's answers are doubted: too fast": 12,
    }
    assert done.rows + sum(reasons(done).values()) == answered(collection)
    assert done.rows == count_picks(collection.database_url, None, Rules(POLICY))
    card = (tmp_path / "out" / "README.md").read_text()
    assert "| the person's answers are doubted: too fast | 12 |" in card
    assert f"quality policy is `{fingerprint(POLICY)}`: flag 50, exclude 75" in card
    manifest = load(tmp_path / "out")
    assert manifest.fact("policy") == fingerprint(POLICY)
    assert changed(json.loads(manifest.fact("policy_parameters"))) == POLICY
    assert damage(tmp_path / "out") == []
    # The counts by prompt are those of the rows that are in.
    table = read(tmp_path / "out", columns=["caption", "num_example_per_prompt"])
    assert dict(zip(*(table[name].to_pylist() for name in table.column_names), strict=True)) == Counter(
        table["caption"].to_pylist()
    )


def test_with_the_policy_off_people_are_not_judged(collection, tmp_path):
    done = run(collection, tmp_path / "out", Rules())
    assert people(tmp_path / "out") == {BANNED, EXCLUDED, HASTY, TRUSTED, HONEST}
    assert reasons(done) == {"the person had not signed in: the free prompt": 12}
    assert load(tmp_path / "out").fact("policy") == "off"
    assert "the quality policy was off" in (tmp_path / "out" / "README.md").read_text()


def test_check_rounds_unfit_images_and_refused_prompts_are_left_out(collection, tmp_path):
    honest = [pick for pick in collection.expected if pick["user"] == HONEST]

    def change(connection):
        connection.execute(update(rounds).where(rounds.c.id == honest[0]["ranking_id"]).values(gold="left"))
        # A challenger that lost is in one round only.
        loser = honest[5]["right" if honest[5]["pick"] == "left" else "left"]["id"]
        connection.execute(update(images).where(images.c.id == loser).values(state="removed"))

    collection.write(change)
    collection.add(["a bestiality scene"])  # user 7
    rules = Rules(POLICY, open_index(None))
    done = run(collection, tmp_path / "out", rules)
    found = reasons(done)
    assert found["a check round: its better image was known beforehand"] == 1
    assert found["an image was taken away"] == 1
    assert found["the prompt is one that is refused"] == 4
    assert done.rows == 24 - 2
    assert done.rows + sum(found.values()) == answered(collection)
    assert "a bestiality scene" not in read(tmp_path / "out", columns=["caption"])["caption"].to_pylist()
    unjudged = run(collection, tmp_path / "all", Rules(POLICY))
    assert unjudged.rows == 24 - 2 + 4


def test_an_update_follows_decisions_risks_and_policy(collection, tmp_path):
    out = tmp_path / "out"
    first = run(collection, out, Rules(POLICY))
    assert (first.added, first.removed) == (24, 0)

    def pardon(connection):
        connection.execute(update(users).where(users.c.id == BANNED).values(status="active"))
        connection.execute(update(users).where(users.c.id == HONEST).values(status="excluded"))

    collection.write(pardon)
    second = run(collection, out, Rules(POLICY))
    assert (second.added, second.removed) == (12, 12)
    assert people(out) == {BANNED, TRUSTED}

    # Another policy, under which 0.2 s are time enough.
    lenient = changed({"fast_seconds": 0.1, "velocity_points": 0})
    third = run(collection, out, Rules(lenient))
    assert (third.added, third.removed) == (12, 0)
    assert people(out) == {BANNED, TRUSTED, HASTY}
    assert "doubted" not in " ".join(reasons(third))
    rows = collection.write(lambda c: c.execute(select(risks.c.policy).distinct()).scalars().all())
    assert rows == [fingerprint(lenient)]

    fourth = run(collection, out, Rules(POLICY))
    assert (fourth.added, fourth.removed) == (0, 12)
    whole = run(collection, tmp_path / "whole", Rules(POLICY))
    assert fourth.fingerprint != whole.fingerprint or fourth.rows == whole.rows
    columns = ["ranking_id", "user_id", "label_0", "num_example_per_prompt"]
    assert sorted(read(out, columns=columns).to_pylist(), key=lambda row: row["ranking_id"]) == sorted(
        read(tmp_path / "whole", columns=columns).to_pylist(), key=lambda row: row["ranking_id"]
    )


def test_the_card_follows_where_no_row_changes(collection, tmp_path):
    out = tmp_path / "out"
    first = run(collection, out, Rules(POLICY))
    files = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    same = run(collection, out, Rules(POLICY))
    assert (same.added, same.removed, same.fingerprint) == (0, 0, first.fingerprint)
    assert files == {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    collection.write(lambda c: c.execute(update(users).where(users.c.id == BANNED).values(status="excluded")))
    later = run(collection, out, Rules(POLICY))
    assert later.fingerprint == first.fingerprint
    assert reasons(later)["an admin left the person out"] == 24
    assert LeftOut("an admin left the person out", 24) in load(out).left_out
    assert "| an admin left the person out | 24 |" in (out / "README.md").read_text()
    assert damage(out) == []


def test_doubts_are_counted_by_their_strongest_reason(collection, tmp_path):
    def onesided(connection):
        connection.execute(update(rounds).values(response_ms=3000, pick="left"))
        connection.execute(update(rounds).where(rounds.c.user_id == HASTY).values(response_ms=200))
        connection.execute(update(users).values(status="active", kind="guest"))

    collection.write(onesided)
    collection.add(["one pick"], rounds_each=1)
    done = run(
        collection, tmp_path / "out", Rules(changed({"side_low": 0.3, "side_high": 0.5, "side_points": 80}))
    )
    assert reasons(done) == {
        "the person's answers are doubted: one sided": 60,
        "the person's answers are doubted: too fast": 12,
    }
    assert done.rows == 1


def test_nobody_who_counts_is_said_with_the_reasons(collection, tmp_path):
    collection.write(lambda c: c.execute(update(users).values(status="banned", kind="guest")))
    with pytest.raises(InputError, match="there are no picks to export; 72 left out: the person is banned"):
        run(collection, tmp_path / "out", Rules(POLICY))
    assert not (tmp_path / "out").exists()


def test_since_a_time(collection, tmp_path):
    honest = [pick for pick in collection.expected if pick["user"] == HONEST]
    border = honest[6]["picked_at"]
    done = run(collection, tmp_path / "out", Rules(POLICY), since=border)
    assert done.rows == 6
    assert reasons(done) == {}
    late = START + timedelta(days=9)
    with pytest.raises(InputError, match="there are no picks to export since"):
        run(collection, tmp_path / "late", Rules(POLICY), since=late)


def test_rules_are_those_of_the_settings(tmp_path):
    settings = load_settings(home=tmp_path, quality={"exclude": 90})
    assert rules_from(settings).policy == changed({"exclude": 90})
    assert rules_from(settings).prompts is open_index(None)
    assert rules_from(settings, policy_off=True).policy is None
    lenient = load_settings(home=tmp_path, prompt_filter=False)
    assert rules_from(lenient).prompts is None
    with pytest.raises(InputError, match="did you mean 'exclude'"):
        rules_from(load_settings(home=tmp_path, quality={"exclud": 90}))


def test_the_command_applies_the_settings_policy(tmp_path, monkeypatch, capsys):
    home = tmp_path / "home"
    home.mkdir()
    collection = Collection(home)
    collection.add(["a duck", "a hat", "a cat"])
    collection.add(["a quick duck", "a quick hat", "a quick cat"])
    collection.write(lambda c: c.execute(update(rounds).values(response_ms=3000)))
    collection.write(lambda c: c.execute(update(rounds).where(rounds.c.user_id == 2).values(response_ms=100)))
    monkeypatch.setenv("PICKAPIC_HOME", str(home))
    monkeypatch.setenv("PICKAPIC_SECRET_KEY", SECRET)

    def call(*arguments):
        with pytest.raises(SystemExit) as left:
            main(list(arguments))
        return left.value.code or 0, capsys.readouterr()

    code, said = call("export", str(tmp_path / "out"))
    assert code == 0
    assert "12 picks in" in said.out
    assert "left out: 12 (the person's answers are doubted: too fast)" in said.out
    code, said = call("export", str(tmp_path / "out"), "--policy", "off")
    assert "24 picks in" in said.out
    assert "12 added" in said.out
    code, said = call("admin", "risks", "--json")
    found = json.loads(said.out)
    assert [(one["user_id"], one["flagged"], one["counts"]) for one in found] == [
        (2, True, False),
        (1, False, True),
    ]
    assert found[0]["reasons"][0]["signal"] == "too_fast"
    code, said = call("admin", "risks", "--least", "50", "--recompute")
    assert code == 0
    assert "12 of 12 answers in under 1 s" in " ".join(said.out.split())
    monkeypatch.setenv("PICKAPIC_QUALITY", '{"fast_secondz": 1}')
    code, said = call("export", str(tmp_path / "out"))
    assert code == 1
    assert "did you mean 'fast_seconds'" in said.err
