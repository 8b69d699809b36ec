"""Names of rounds, duels and reports, which people copy into a command line."""

import secrets

from pickapic.collect.uids import new_uid


def test_a_uid_is_never_taken_for_an_option(monkeypatch):
    drawn = iter(["-Y2ERIw6nidvGrYD5WqJVw", "--2ERIw6nidvGrYD5WqJVw", "Y-2ERIw6nidvGrYD5WqJVw"])
    monkeypatch.setattr(secrets, "token_urlsafe", lambda size: next(drawn))
    assert new_uid() == "Y-2ERIw6nidvGrYD5WqJVw"


def test_uids_differ_and_fit_a_url():
    made = {new_uid() for _ in range(1000)}
    assert len(made) == 1000
    assert all(len(uid) == 22 and uid.replace("-", "").replace("_", "").isalnum() for uid in made)
