"""A collection of a million images and a million picks, written into PostgreSQL by SQL: a minute instead of weeks.

    python benchmarks/million_rows.py postgresql://user@host/name --picks 1000000

The database must be empty. People, prompts, duels, jobs, images, rounds, check rounds and cancelled jobs are there in
the proportions of a real collection; the image files are not.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from datetime import UTC, datetime

import asyncpg

from pickapic.collect.moderation.words import open_index
from pickapic.collect.schema import upgrade

ROUNDS = 20
"""A duel has so many answered rounds, and one image more."""
MODELS = 12
DAYS = 180
CHECKS = 0.02
SUBJECTS = (
    "fox",
    "castle",
    "robot",
    "teapot",
    "violin",
    "whale",
    "lighthouse",
    "dragon",
    "city",
    "forest",
    "owl",
)
MANNERS = (
    "ancient",
    "tiny",
    "golden",
    "broken",
    "glowing",
    "floating",
    "sleeping",
    "giant",
    "wooden",
    "frozen",
)
PLACES = (
    "desert",
    "library",
    "harbour",
    "winter night",
    "market",
    "cave",
    "meadow",
    "space station",
    "old town",
)
STYLES = (
    "oil painting",
    "pencil sketch",
    "photograph at f/1.8",
    "watercolour",
    "isometric render",
    "woodcut",
)
LIGHTS = (
    "at dawn",
    "in fog",
    "by candlelight",
    "under neon light",
    "at noon",
    "in the rain",
    "with rim light",
)

FILL = """
INSERT INTO users (kind, created_at)
SELECT CASE WHEN i % 3 = 0 THEN 'guest' ELSE 'account' END, now() - interval '{days} days'
FROM generate_series(1, {people}) i;

INSERT INTO duels (uid, user_id, typed, caption, negative_prompt, state, created_at, closed_at, image_width,
                   image_height, judged_by, refused)
SELECT substr(md5('duel' || i), 1, 22), 1 + floor(power(random(), 1.5) * {people})::int, caption || ' [blurry]',
       caption, 'blurry', 'closed', at, at + interval '10 minutes', 512, 512, '{words}', false
FROM (SELECT i, 1 + floor(power(random(), 1.2) * {prompts})::int AS prompt,
             now() - interval '{days} days' + interval '{days} days' * i / ({duels} + 1.0) AS at
      FROM generate_series(1, {duels}) i) one
JOIN prompts ON prompts.id = one.prompt ORDER BY i;

INSERT INTO jobs (duel_id, user_id, state, priority, virtual_time, generator, prompt, negative_prompt,
                  guidance_scale, steps, seed, attempts, not_before, created_at, worker, leased_at, finished_at,
                  seconds)
SELECT duels.id, user_id, CASE WHEN made THEN 'done' ELSE 'cancelled' END, CASE WHEN n <= 2 THEN 0 ELSE 1 END,
       duels.id + n / 32.0, 'model-' || floor(random() * {models})::int, caption, 'blurry', 3 + random() * 9, 25,
       floor(random() * 4294967295)::bigint, 1, at, at, 'worker-' || n % 8, at,
       CASE WHEN made THEN at + interval '2 s' END, CASE WHEN made THEN 1 + random() END
FROM duels, generate_series(1, {rounds} + 3) n,
     LATERAL (SELECT duels.created_at + interval '5 s' * n AS at, n <= {rounds} + 1 AS made) moment
ORDER BY duels.id, n;

INSERT INTO images (uid, token, duel_id, job_id, state, sha256, width, height, model, prompt, negative_prompt,
                    seed, guidance_scale, steps, scheduler, created_at, fetched_at, phash, unfit, seconds)
SELECT gen_random_uuid()::text, substr(md5('image' || id), 1, 22), duel_id, id, 'shown',
       md5('a' || id) || md5('b' || id), 512, 512, generator, prompt, negative_prompt, seed, guidance_scale, steps,
       'ddim', finished_at, finished_at + interval '1 s',
       ('x' || substr(md5('p' || id), 1, 16))::bit(64)::bigint, random() * 0.2, seconds
FROM jobs WHERE state = 'done' ORDER BY id;

INSERT INTO rounds (uid, duel_id, user_id, number, left_image_id, right_image_id, incumbent, state, pick,
                    kept_image_id, shown_at, picked_at, response_ms, gold)
SELECT substr(md5('round' || duel_id || '-' || number), 1, 22), duel_id, user_id, number, left_id, right_id,
       CASE WHEN number = 1 THEN NULL WHEN swapped THEN 'right' ELSE 'left' END, 'answered', pick,
       CASE WHEN pick = 'right' THEN right_id ELSE left_id END, at, at + ms * interval '1 ms', ms,
       CASE WHEN NOT checks THEN NULL
            WHEN careless AND pick = 'left' THEN 'right' WHEN careless AND pick = 'right' THEN 'left'
            WHEN pick = 'right' THEN 'right' ELSE 'left' END
FROM (
    SELECT *, created_at + interval '8 s' * number AS at,
           CASE WHEN tied THEN 'tie' WHEN luck < 1 / (1 + exp(right_worth - left_worth)) THEN 'left'
                ELSE 'right' END AS pick
    FROM (
        SELECT duels.id AS duel_id, duels.user_id, duels.created_at, n AS number, swapped,
               CASE WHEN swapped THEN new.id ELSE old.id END AS left_id,
               CASE WHEN swapped THEN old.id ELSE new.id END AS right_id,
               0.3 * substr(CASE WHEN swapped THEN new.model ELSE old.model END, 7)::int AS left_worth,
               0.3 * substr(CASE WHEN swapped THEN old.model ELSE new.model END, 7)::int AS right_worth,
               random() AS luck, random() < 0.12 AS tied, random() < {checks} AS checks, random() < 0.05 AS careless,
               floor(exp(7.6 + 0.5 * sqrt(-2 * ln(1 - random())) * cos(2 * pi() * random())))::int AS ms
        FROM duels
        CROSS JOIN LATERAL (
            SELECT n, random() < 0.5 AS swapped FROM generate_series(1, {rounds}) n WHERE duels.id > 0
        ) turn
        JOIN images old ON old.id = (duels.id - 1) * ({rounds} + 1) + n
        JOIN images new ON new.id = (duels.id - 1) * ({rounds} + 1) + n + 1
    ) shown
) answered ORDER BY duel_id, number;

UPDATE queue SET virtual_time = (SELECT max(virtual_time) FROM jobs), ahead_time = (SELECT max(virtual_time) FROM jobs);
"""


async def fill(url: str, picks: int, seed: int = 0) -> None:
    """Fill an empty database with so many picks that count, and about as many images."""
    await upgrade(url)
    duels = round(picks / (1 - CHECKS) / ROUNDS)
    counts = {
        "days": DAYS,
        "duels": duels,
        "people": max(10, duels // 10),
        "prompts": max(10, duels * 9 // 10),
    }
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("SET synchronous_commit = off; SET work_mem = '64MB'")
        await connection.execute(f"SELECT setseed({1 / (seed + 2)})")
        await connection.execute("CREATE TEMPORARY TABLE prompts (id int PRIMARY KEY, caption text)")
        texts = prompts(counts["prompts"], random.Random(seed))
        await connection.copy_records_to_table("prompts", records=list(enumerate(texts, start=1)))
        words = open_index(None).fingerprint
        values = counts | {"rounds": ROUNDS, "models": MODELS, "checks": CHECKS, "words": words}
        for statement in FILL.format(**values).split(";\n"):
            if statement.strip():
                await connection.execute(statement)
        await connection.execute("VACUUM (ANALYZE)")
    finally:
        await connection.close()


def prompts(count: int, rng: random.Random) -> list[str]:
    """Return as many different prompts, of 40 to 120 characters."""
    found: dict[str, None] = {}
    while len(found) < count:
        one, other = (f"{rng.choice(MANNERS)} {rng.choice(SUBJECTS)}" for _ in range(2))
        subject = f"a {one} beside a {other}"
        text = f"{subject} in a {rng.choice(PLACES)} {rng.choice(LIGHTS)}, {rng.choice(STYLES)}"
        if rng.random() < 0.5:
            text += f", {rng.choice(STYLES)}, highly detailed, trending, number {rng.randrange(100)}"
        found[text] = None
    return list(found)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("database", help="URL of an empty PostgreSQL database")
    parser.add_argument("--picks", type=int, default=1_000_000)
    arguments = parser.parse_args()
    start = time.perf_counter()
    asyncio.run(fill(arguments.database, arguments.picks))
    seconds = time.perf_counter() - start
    print(f"{arguments.picks:,} picks written in {seconds:.0f} s; {datetime.now(UTC):%Y-%m-%d %H:%M} UTC")


if __name__ == "__main__":
    main()
