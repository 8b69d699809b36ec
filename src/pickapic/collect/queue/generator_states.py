"""Which generators are drawn, and how often: what admins changed, over the settings.

The settings name the generators; an admin switches them on and off and weighs them while the server runs.
The change is a row that every process reads when it next draws a model: nothing has to be restarted.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from random import Random

from sqlalchemy import Connection, bindparam, insert, select, update

from pickapic.collect import decisions
from pickapic.collect.queue import breakers
from pickapic.collect.queue.jobs import ON_SCREEN
from pickapic.collect.refusals import NotFoundError
from pickapic.collect.tables import duels, generator_states, jobs
from pickapic.records import InputError
from pickapic.settings import GeneratorChoice

LARGEST_WEIGHT = 1_000_000.0


@dataclass(frozen=True, slots=True)
class GeneratorState:
    """A generator of the settings as it is drawn now; `settings_weight` is what it goes back to."""

    name: str
    enabled: bool
    weight: float
    settings_weight: float
    changed_at: datetime | None
    changed_by: int | None


_changed = select(generator_states)


def effective(
    connection: Connection, choices: Sequence[GeneratorChoice], now: datetime
) -> tuple[GeneratorChoice, ...]:
    """Return those of the settings' `choices` that may be drawn, with the weights that hold now.

    None, if all are switched off or weigh nothing: then nothing can be ordered, and `duel.start` says so. What is
    benched (breakers.py) is drawn only where nothing else is left: then its jobs wait until it is tried again.
    """
    drawn = switched_on(connection, choices)
    failing = breakers.read(connection)
    if not failing:
        return drawn
    resting = breakers.resting(connection, failing, now)
    return tuple(choice for choice in drawn if choice.name not in resting) or drawn


def awake(
    connection: Connection, choices: Sequence[GeneratorChoice], without: Collection[str], now: datetime
) -> tuple[GeneratorChoice, ...]:
    """Return what `effective` returns, less what is benched in any case, and less `without`."""
    resting = breakers.resting(connection, breakers.read(connection), now)
    drawn = switched_on(connection, choices)
    return tuple(choice for choice in drawn if choice.name not in resting and choice.name not in without)


def switched_on(connection: Connection, choices: Sequence[GeneratorChoice]) -> tuple[GeneratorChoice, ...]:
    """Return what admins left switched on of the settings' `choices`, with the weights that hold now."""
    rows = {row.name: row for row in connection.execute(_changed)}
    if not rows:
        return tuple(choice for choice in choices if choice.weight > 0)
    drawn: list[GeneratorChoice] = []
    for choice in choices:
        row = rows.get(choice.name)
        if row is not None and not row.enabled:
            continue
        weight = choice.weight if row is None or row.weight is None else row.weight
        if weight > 0:
            drawn.append(choice if weight == choice.weight else replace(choice, weight=weight))
    return tuple(drawn)


def states(connection: Connection, choices: Sequence[GeneratorChoice]) -> list[GeneratorState]:
    """Return all generators of the settings, in their order, drawn or not."""
    rows = {row.name: row for row in connection.execute(_changed)}
    found: list[GeneratorState] = []
    for choice in choices:
        row = rows.get(choice.name)
        if row is None:
            found.append(GeneratorState(choice.name, True, choice.weight, choice.weight, None, None))
        else:
            weight = choice.weight if row.weight is None else row.weight
            found.append(
                GeneratorState(
                    choice.name, row.enabled, weight, choice.weight, row.changed_at, row.changed_by
                )
            )
    return found


def switch(
    connection: Connection,
    choices: Sequence[GeneratorChoice],
    name: str,
    enabled: bool,
    actor_id: int | None,
    reason: str,
    now: datetime,
    rng: Random,
) -> int:
    """Switch a generator on or off.

    What is queued for one that is switched off goes to the others, so that nobody waits for a broken model;
    return how many images that were. If no other is on, they stay where they are.

    Raises:
        NotFoundError: the settings have no such generator.
    """
    _known(choices, name)
    _change(connection, name, actor_id, now, enabled=enabled)
    decisions.record(
        connection, actor_id, "switch on" if enabled else "switch off", "generator", name, reason, now
    )
    return 0 if enabled else pass_on(connection, name, effective(connection, choices, now), rng)


def set_weight(
    connection: Connection,
    choices: Sequence[GeneratorChoice],
    name: str,
    weight: float | None,
    actor_id: int | None,
    reason: str,
    now: datetime,
) -> None:
    """Draw a generator so much more often or seldom than one of weight 1; None: as the settings say.

    Raises:
        NotFoundError: the settings have no such generator.
        InputError: the weight is below 0 or no number.
    """
    _known(choices, name)
    if weight is not None and not 0 <= weight <= LARGEST_WEIGHT:
        raise InputError(f"A weight is a number from 0 to {LARGEST_WEIGHT:,.0f}; {weight:g} is not.")
    _change(connection, name, actor_id, now, weight=weight)
    action = "reset weight" if weight is None else f"set weight {weight:g}"
    decisions.record(connection, actor_id, action, "generator", name, reason, now)


def _known(choices: Sequence[GeneratorChoice], name: str) -> None:
    if all(choice.name != name for choice in choices):
        raise NotFoundError("The settings have no generator called {name}.", name=name)


def _change(
    connection: Connection, name: str, actor_id: int | None, now: datetime, **values: float | bool | None
) -> None:
    present = {**values, "changed_at": now, "changed_by": actor_id}
    changed = update(generator_states).where(generator_states.c.name == name).values(**present)
    if not connection.execute(changed).rowcount:
        connection.execute(insert(generator_states).values(**{"name": name, "enabled": True, **present}))


_queued = (
    select(jobs.c.id, jobs.c.priority, duels.c.negative_prompt)
    .join(duels, duels.c.id == jobs.c.duel_id)
    .where(jobs.c.state == "queued", jobs.c.kind == "generate", jobs.c.generator == bindparam("name"))
    .order_by(jobs.c.id)
)
_reorder = (
    update(jobs)
    .where(jobs.c.id == bindparam("key"), jobs.c.state == "queued")
    .values(
        worker=None,
        generator=bindparam("by"),
        negative_prompt=bindparam("without"),
        guidance_scale=bindparam("guidance"),
        steps=bindparam("step_count"),
    )
)


def pass_on(
    connection: Connection,
    name: str,
    others: Sequence[GeneratorChoice],
    rng: Random,
    only_urgent: bool = False,
) -> int:
    """Have what is queued for a generator made by `others`, drawn by weight; return how many images that are.

    With `only_urgent` just what a screen waits for.
    """
    if not others:
        return 0
    rows = connection.execute(_queued, {"name": name}).all()
    if only_urgent:
        rows = [row for row in rows if row.priority == ON_SCREEN]
    if not rows:
        return 0
    drawn = rng.choices(others, weights=[choice.weight for choice in others], k=len(rows))
    connection.execute(
        _reorder,
        [
            {
                "key": row.id,
                "by": choice.name,
                "without": row.negative_prompt or choice.negative_prompt,
                "guidance": round(rng.uniform(choice.guidance_min, choice.guidance_max), 2),
                "step_count": choice.steps,
            }
            for row, choice in zip(rows, drawn, strict=True)
        ],
    )
    return len(rows)
