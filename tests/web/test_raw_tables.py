"""Raw tables: every table, for admins, read only, without what must stay secret."""

import pytest
from administration import FORM, staff
from sqlalchemy import insert, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from pickapic.collect.tables import METADATA, duels, identities, marks, users
from pickapic.web import raw_tables
from pickapic.web.service import now

pytestmark = pytest.mark.slow

ON_BOTH_DATABASES = True
SCRIPT = "<script>alert(1)</script>"


def test_every_table_is_listed_and_opens(on):
    async def play(site):
        admin, person = await staff(site, "admin"), await site.person()
        duel = await person.start(SCRIPT)
        await site.work()
        await person.pick(await person.read(duel), "left")
        index = (await admin.get("/admin/tables/")).text
        for name in METADATA.tables:
            assert f'href="/admin/tables/{name}/list"' in index
            page = await admin.get(f"/admin/tables/{name}/list")
            assert page.status_code == 200, (name, page.text)
            assert SCRIPT not in page.text
        assert "&lt;script&gt;" in (await admin.get("/admin/tables/duels/list")).text

    on(play)


def test_rows_are_searched_sorted_paged_and_looked_at(on):
    async def play(site):
        admin = await staff(site, "admin")

        def fill(connection):
            user = {"kind": "guest", "created_at": now()}
            connection.execute(insert(users), [user] * 60)
            one = {
                "user_id": admin.user_id,
                "negative_prompt": "",
                "state": "closed",
                "created_at": now(),
            }
            connection.execute(
                insert(duels),
                [{**one, "uid": f"u{n}", "typed": f"prompt {n}", "caption": f"p%{n}"} for n in range(60)],
            )

        await site.service.database.write(fill)

        async def page(query):
            return (await admin.get(f"/admin/tables/duels/list?{query}")).text

        first = await page("")
        assert "60 rows, page 1" in first
        assert "prompt 59<" in first
        assert "prompt 34<" not in first
        assert "prompt 9<" in await page("page=3")
        assert "prompt 0<" in await page("sortBy=id&sort=asc")
        assert "1 row," in await page("search=prompt+42")
        assert "0 rows" in await page("search=%25%27%3B--")
        assert 'aria-sort="ascending"' in await page("sortBy=typed&sort=asc")
        details = await admin.get("/admin/tables/duels/details/7")
        assert (details.status_code, "prompt 6" in details.text) == (200, True)

    on(play)


def test_hashes_and_who_somebody_is_are_nowhere(on):
    async def play(site):
        admin = await staff(site, "admin")

        def fill(connection):
            connection.execute(
                insert(identities).values(
                    user_id=admin.user_id,
                    provider="google",
                    subject="1097-subject",
                    email_hash=b"e-mail-hash-of-32-bytes-exactly!",
                    linked_at=now(),
                    seen_at=now(),
                )
            )
            connection.execute(
                insert(marks).values(
                    user_id=admin.user_id,
                    kind="address",
                    digest=b"address-hash-of-32-bytes-exactly",
                    first_at=now(),
                    last_at=now(),
                )
            )

        await site.service.database.write(fill)
        for name in ("identities", "marks", "sessions", "sign_ins", "links", "prompt_reviews"):
            page = (await admin.get(f"/admin/tables/{name}/list")).text
            assert "not shown: " in page
            table = page.partition("<table")[2]
            for secret in ("subject", "1097-subject", "-hash-of-", "_hash", "digest"):
                assert secret not in table
        row = (await admin.get("/admin/tables/identities/details/1")).text
        assert "google" in row
        assert "1097-subject" not in row

    on(play)


@pytest.mark.parametrize("name", sorted(METADATA.tables))
def test_no_column_of_bytes_or_of_a_known_secret_is_mapped(name):
    table = METADATA.tables[name]
    (view,) = [view for view in raw_tables.views() if view.name == name]
    shown = set(view.column_list)
    for column in table.columns:
        secret = column.type.python_type is bytes or column.name in {"code_verifier", "nonce", "subject"}
        assert (column.name in shown) != secret
        assert hasattr(view.model, column.name) != secret


def test_nothing_can_be_changed(on):
    async def play(site):
        admin = await staff(site, "admin")
        for method, path in (
            ("POST", "users/create"),
            ("GET", "users/create"),
            ("POST", "users/edit/1"),
            ("DELETE", "users/delete?pks=1"),
            ("POST", "users/import"),
            ("GET", "users/export/csv"),
            ("GET", "login"),
            ("GET", "statics/js/main.js"),
        ):
            reply = await admin.client.request(
                method, f"/admin/tables/{path}", headers={**admin.csrf(), **FORM}
            )
            assert reply.status_code == 404, path
        assert len(await site.rows(users)) == 1

    on(play)


def test_the_connection_itself_only_reads(on):
    async def play(site):
        engine = raw_tables.open_engine(site.settings.database_url)
        statement = text("UPDATE users SET role = 'admin'")

        async def change():
            if isinstance(engine, AsyncEngine):
                async with engine.begin() as connection:
                    await connection.execute(statement)
            else:
                with engine.begin() as connection:
                    connection.execute(statement)

        with pytest.raises(DBAPIError, match=r"readonly|read-only"):
            await change()
        if isinstance(engine, AsyncEngine):
            await engine.dispose()
        else:
            engine.dispose()

    on(play)


def test_only_admins_see_them(on):
    async def play(site):
        moderator, person, nobody = await staff(site, "moderator"), await site.person(), site.client()
        for who in (moderator, person):
            for path in ("", "users/list", "users/details/1"):
                assert (await who.get(f"/admin/tables/{path}", headers=FORM)).status_code == 404
        assert (await nobody.get("/admin/tables/", headers=FORM)).status_code == 404
        await nobody.aclose()

    on(play)


@pytest.mark.parametrize(
    "path",
    [
        "users/details/abc",
        "users/details/99",
        "users/details/99999999999999999999999",
        "users/details/1;2",
        "users/list?page=x",
        "users/list?sortBy=password",
        "nothing/list",
        "users/list?page=99999999999999999999",
        "users/list?pageSize=0",
        "users/list?search=%00",
    ],
)
def test_what_cannot_be_is_no_fault_of_the_server(on, path):
    async def play(site):
        admin = await staff(site, "admin")
        reply = await admin.get(f"/admin/tables/{path}")
        assert reply.status_code < 500, reply.text

    on(play)
