"""Unfit prompts and images through HTTP: nothing is queued, nothing is shown, and the page learns the rule alone."""

import itertools

import pytest

from pickapic.collect.moderation import reviews
from pickapic.collect.moderation.images import Inspection
from pickapic.collect.tables import duels, images, jobs, prompt_reviews, rounds
from pickapic.records import InputError
from pickapic.settings import load_settings
from pickapic.web.app import create_app

ON_BOTH_DATABASES = True


async def ask(person, prompt, language="en"):
    person.client.headers["Accept-Language"] = language
    return await person.post("/api/v1/duels", {"prompt": prompt})


def test_a_grey_prompt_waits_for_a_moderator_and_nothing_is_queued(on):
    async def play(site):
        person, other = await site.person(), await site.person()
        for _ in range(2):
            reply = await ask(person, "a nude statue")
            assert reply.status_code == 422
            assert reply.json()["error"]["code"] == "review"
            assert "moderator" in reply.json()["error"]["message"]
        assert await site.rows(jobs) == await site.rows(duels) == []
        (row,) = await site.rows(prompt_reviews)
        assert (row.typed, row.user_id, row.state) == ("a nude statue", person.user_id, "waiting")
        await site.service.database.write(reviews.decide, row.uid, True, None, "", row.created_at)
        assert (await ask(other, "a nude  STATUE")).status_code == 201

    on(play)


def test_a_refused_prompt_says_which_rule_in_the_readers_language_and_no_word_of_the_list(on):
    async def play(site):
        person = await site.person()
        english = await ask(person, "h3ntai")
        hebrew = await ask(person, "h3ntai", "he")
        assert english.status_code == hebrew.status_code == 422
        assert english.json()["error"] == {
            "code": "prompt",
            "message": "This prompt is refused: it asks for sexually explicit images.",
        }
        assert "מיניות" in hebrew.json()["error"]["message"]
        assert await site.rows(jobs) == await site.rows(duels) == await site.rows(prompt_reviews) == []

    on(play)


@pytest.mark.parametrize(
    "prompt",
    ["a/b (c) _d_ it's", "a naked mole rat", "a fox [nsfw, nude]", "Scunthorpe and Essex, Moby Dick"],
)
def test_what_is_harmless_starts(on, prompt):
    async def play(site):
        person = await site.person()
        assert (await ask(person, prompt)).status_code == 201
        assert (await site.rows(duels))[0].typed == prompt

    on(play)


UNFIT = 5
"""As many as one duel may have before it is given up, less one (losses.MOST_FLAGGED)."""


class EveryOther:
    """Finds every other image unfit, at first."""

    def __init__(self):
        self.turn = itertools.count()

    def block(self, hashes):
        pass

    def inspect(self, pixels):
        number = next(self.turn)
        return Inspection(
            number * 0x0101_0101_0101, 0.9, "classifier" if number % 2 and number < 2 * UNFIT else None
        )


def test_a_flagged_image_is_never_shown_never_sent_and_replaced(on, monkeypatch):
    monkeypatch.setattr("pickapic.worker.worker.open_inspector", lambda settings: EveryOther())

    async def play(site):
        person = await site.person()
        duel = await person.start()
        seen = set()
        for _ in range(6):
            await site.work()
            duel = await person.read(duel)
            assert duel["state"] == "ready"
            seen |= {image["url"] for image in duel["round"]["images"]} | set(duel["round"]["prefetch"])
            assert (await person.pick(duel, "left")).status_code == 200
        flagged = [row for row in await site.rows(images) if row.state == "flagged"]
        assert len(flagged) == UNFIT
        assert {(row.flag, row.unfit) for row in flagged} == {("classifier", 0.9)}
        for row in flagged:
            assert not any(row.token in url for url in seen)
            assert (await person.get(f"/api/v1/images/{row.token}")).status_code == 404
        shown = {row.left_image_id for row in await site.rows(rounds)}
        shown |= {row.right_image_id for row in await site.rows(rounds)}
        assert not shown & {row.id for row in flagged}

    on(play)


def test_a_mistake_in_the_file_of_words_shows_when_the_server_starts(tmp_path):
    path = tmp_path / "words.toml"
    path.write_text("block = 'x'")
    with pytest.raises(InputError, match="give a list"):
        create_app(load_settings(home=tmp_path / "home", prompt_words=path))
