"""The administration of generators that fail, of jobs that ended badly, and of how an image was made."""

import json

import pytest
from administration import send, staff
from sqlalchemy import insert, update

from pickapic.collect.tables import breakers, images, jobs
from pickapic.web.service import now

pytestmark = pytest.mark.slow

ON_BOTH_DATABASES = True

SCRIPT = "<script>alert(1)</script>"


def test_a_benched_generator_is_shown_with_its_reason_and_tried_by_a_button(on):
    async def play(site):
        admin, person = await staff(site, "admin"), await site.person()
        (benched, counted, *_) = [choice.name for choice in site.settings.generators]

        def fail(connection):
            soon = now().replace(year=now().year + 1)
            for name, until in ((benched, soon), (counted, None)):
                connection.execute(
                    insert(breakers).values(
                        name=name,
                        failures=3,
                        since=now(),
                        benched_until=until,
                        error=f"status 503 {SCRIPT}",
                        failed_at=now(),
                    )
                )

        await site.service.database.write(fail)
        page = (await admin.get("/admin/generators")).text
        assert SCRIPT not in page
        assert page.count("status 503 &lt;script&gt;") == 2
        assert page.count("<b>Benched</b>") == page.count("Try now</button>") == 1
        for number in range(5):
            await person.start(f"a dog {number}")
        assert benched not in {row.generator for row in await site.rows(jobs)}
        reply = await send(admin, f"/admin/generators/{benched}/try")
        assert (reply.status_code, reply.headers["location"]) == (303, "/admin/generators?done=try")
        assert "The next image that is ordered tries it" in (await admin.get("/admin/generators")).text
        assert "try now" in (await admin.get("/admin/decisions")).text
        for number in range(10):
            await person.start(f"a cat {number}")
        assert benched in {row.generator for row in await site.rows(jobs)}
        assert (await send(admin, "/admin/generators/nobody/try")).status_code == 404

    on(play)


def test_jobs_that_ended_badly_are_listed_queued_again_and_given_up(on):
    async def play(site):
        admin, person = await staff(site, "admin"), await site.person()
        await person.start()

        def end(connection):
            for key, state in ((1, "dead"), (2, "refused"), (3, "refused")):
                connection.execute(
                    update(jobs)
                    .where(jobs.c.id == key)
                    .values(state=state, error=f"{state} {SCRIPT}", finished_at=now())
                )

        await site.service.database.write(end)
        page = (await admin.get("/admin/jobs")).text
        assert SCRIPT not in page
        assert (page.count("refused &lt;script&gt;"), page.count("dead &lt;script&gt;")) == (2, 1)
        await send(admin, "/admin/jobs/retry", job="2")
        await send(admin, "/admin/jobs/give-up", job="3")
        assert [row.state for row in await site.rows(jobs)][:3] == ["dead", "queued", "cancelled"]
        await send(admin, "/admin/jobs/give-up")
        assert "None: every image" in (await admin.get("/admin/jobs")).text
        log = (await admin.get("/admin/decisions")).text
        assert "1 given up" in log
        assert "1 queued again" in log

    on(play)


def test_how_an_image_was_made_is_for_staff_alone(on):
    async def play(site):
        moderator, person = await staff(site, "moderator"), await site.person()
        await person.start()
        await site.work()
        row = (await site.rows(images))[0]
        sent = {"prompt": SCRIPT, "seed": 7}

        def provider(connection):
            connection.execute(
                update(images)
                .where(images.c.id == row.id)
                .values(
                    sent=json.dumps(sent), revised_prompt="a nicer cat", source_sha256="e" * 64, seconds=1.25
                )
            )

        await site.service.database.write(provider)
        path = f"/admin/images/{row.token}/made"
        page = (await moderator.get(path)).text
        assert SCRIPT not in page
        for said in (row.model, str(row.seed), "a nicer cat", "e" * 64, row.sha256, "1.25", "&lt;script&gt;"):
            assert said in page
        assert (await person.get(path)).status_code == 404
        assert (await moderator.get("/admin/images/nobody/made")).status_code == 404

    on(play)
