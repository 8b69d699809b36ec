"""An image's file is stored before its row, and its row is written before a round, let alone a pick, can name it."""

import obstore
import pytest
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from pickapic.collect.duels import images
from pickapic.collect.tables import images as images_table
from pickapic.collect.tables import jobs as jobs_table
from pickapic.collect.tables import rounds
from pickapic.storage import blobs
from pickapic.worker import beside_database


class Shop:
    """A worker that works when the test says so, on the database of the hands."""

    def __init__(self, hands, folder) -> None:
        self.hands = hands
        self.store = blobs.open_store(str(folder / "images"))
        self.settings = hands.settings
        self.worker = beside_database(hands.settings, hands.database, self.store)

    def work(self) -> None:
        async def play() -> None:
            while await self.worker.work_once():
                pass

        self.hands.runner.run(play())

    def files(self) -> set[str]:
        return {found["path"].partition("/")[2] for part in obstore.list(self.store) for found in part}


@pytest.fixture
def shop(hands, tmp_path) -> Shop:
    return Shop(hands, tmp_path)


def start_now(hands) -> int:
    """Let somebody start a duel by the clock that workers go by."""
    user = hands.guest()
    hands.start(user)
    return user


def test_when_a_row_is_written_its_file_is_there(shop, hands, monkeypatch):
    real = images.record
    seen = []

    def record(connection, finished, now):
        there = shop.files()
        seen.extend(image.sha256 for image in finished)
        assert {image.sha256 for image in finished} <= there
        real(connection, finished, now)

    monkeypatch.setattr(images, "record", record)
    start_now(hands)
    shop.work()
    assert len(seen) == len(hands.rows(images_table)) >= 2


def test_a_worker_that_dies_between_file_and_row_leaves_an_orphan_and_no_gap(shop, hands, monkeypatch):
    class Killed(BaseException):
        pass

    def die(*_arguments):
        raise Killed

    start_now(hands)
    with monkeypatch.context() as patch:
        patch.setattr(images, "record", die)
        with pytest.raises(Killed):
            shop.work()
    assert shop.files()
    assert hands.rows(images_table) == []
    assert hands.rows(rounds) == []
    # Its lease runs out, and another makes the images; none of the files is in the way.
    hands.write(lambda connection: connection.execute(_expired))
    second = Shop(hands, shop.settings.home)
    second.work()
    rows = hands.rows(images_table)
    assert len(rows) == len({row.job_id for row in rows}) == len(hands.rows(jobs_table))
    assert {row.sha256 for row in rows} <= second.files()


_expired = jobs_table.update().values(state="queued", worker=None)


def test_a_round_can_name_only_images_that_have_rows(hands):
    user = hands.guest()
    hands.start(user)
    hands.make()
    duel = hands.read(lambda connection: connection.execute(select(jobs_table.c.duel_id)).scalars().first())
    row = {
        "uid": "r",
        "duel_id": duel,
        "user_id": user,
        "number": 1,
        "left_image_id": 1,
        "right_image_id": 987_654,
        "state": "open",
        "shown_at": hands.now,
    }
    with pytest.raises(IntegrityError):
        hands.write(lambda connection: connection.execute(insert(rounds).values(**row)))
    for side in ("left_image_id", "right_image_id"):
        with pytest.raises(IntegrityError):
            hands.write(
                lambda connection, side=side: connection.execute(insert(rounds).values(**row | {side: None}))
            )
    assert hands.rows(rounds) == []


def test_no_round_is_shown_before_two_rows_are_there(shop, hands):
    user = hands.guest()
    uid = hands.start(user)
    assert hands.view(user, uid).round is None

    (first, second, *_) = hands.lease()
    hands.finish([first])
    assert hands.view(user, uid).round is None
    hands.finish([second])
    assert hands.view(user, uid).round is not None
