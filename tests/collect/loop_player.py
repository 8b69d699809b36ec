"""A player of duels inside one transaction, and images that nobody drew."""

from __future__ import annotations

import random

from sqlalchemy import select

from pickapic.collect.duels import duel, images, views
from pickapic.collect.people import users
from pickapic.collect.queue import jobs
from pickapic.collect.tables import duels, rounds
from pickapic.collect.tables import images as images_table


class Everything:
    """Holds all there is."""

    def __contains__(self, thing: object) -> bool:
        return True


EVERYTHING = Everything()


ORIGINS = {"generate": "generated", "corrupt": "corrupted", "gold": "gold"}


def finished(job: jobs.Job, same: bool = False) -> images.Finished:
    order = job.order
    return images.Finished(
        job_id=job.id,
        duel_id=job.duel_id,
        sha256=f"{0 if same else job.id:064x}",
        width=256,
        height=256,
        model=order.generator or ORIGINS[order.kind],
        prompt=order.prompt,
        negative_prompt=order.negative_prompt,
        seed=order.seed,
        guidance_scale=order.guidance_scale,
        steps=order.steps,
        scheduler=None,
        origin=ORIGINS[order.kind],
        role=order.role,
        source_image_id=order.source_image_id,
    )


PICKS = ("left", "right", "tie")


class Player:
    """One user in one duel, playing inside one transaction: hundreds of rounds take a second."""

    def __init__(self, hands, connection, share: float, seed: int = 0, prompt: str = "a cat [dog]") -> None:
        self.connection = connection
        self.settings = hands.settings.model_copy(update={"gold_share": share})
        self.now = hands.now
        self.rng = random.Random(seed)
        self.user = users.create_guest(connection, self.now)
        self.uid = duel.start(connection, self.settings, self.user, prompt, self.now, self.rng)
        self.duel_id = connection.execute(select(duels.c.id).where(duels.c.uid == self.uid)).scalar_one()
        self.make()

    def make(self) -> None:
        leased = jobs.lease(self.connection, "w", 100, 60.0, self.now)
        mine = jobs.finish(self.connection, "w", [job.id for job in leased], 0.5, self.now)
        images.record(self.connection, [finished(job) for job in leased if job.id in mine], self.now)

    def view(self) -> views.DuelView:
        duel.advance(self.connection, self.settings, self.user, self.uid, self.now, self.rng)
        return views.view(self.connection, self.user, self.uid, self.now)

    def pick(self, answer: str) -> None:
        round_uid = self.view().round.round_uid
        args = (self.settings, self.user, round_uid, answer, self.now, self.rng, None, EVERYTHING)
        duel.pick(self.connection, *args)

    def skip(self) -> None:
        round_uid = self.view().round.round_uid
        duel.skip(self.connection, self.settings, self.user, round_uid, self.now, self.rng)

    def undo(self) -> None:
        undo_uid = self.view().undo_round_uid
        if undo_uid is not None:
            duel.undo(self.connection, self.user, undo_uid, self.now)

    def close(self) -> views.DuelView:
        duel.close(self.connection, self.user, self.uid, self.now)
        return self.view()

    def play(self, count: int, answer=None) -> None:
        for _ in range(count):
            self.pick(answer or self.rng.choice(PICKS))
            self.make()

    def rounds(self):
        """All rounds that were not withdrawn, in order."""
        query = select(rounds).where(rounds.c.duel_id == self.duel_id, rounds.c.state != "withdrawn")
        return self.connection.execute(query.order_by(rounds.c.number)).all()

    def images(self):
        query = select(images_table).where(images_table.c.duel_id == self.duel_id)
        return {row.id: row for row in self.connection.execute(query)}

    def until_check(self, listed: bool = False):
        """Play until a check round is on screen, and return it."""
        for _ in range(400):
            self.view()
            row = self.rounds()[-1]
            if row.gold and bool(row.gold_pair_id) == listed:
                return row
            self.play(1)
        raise AssertionError("no check round came")
