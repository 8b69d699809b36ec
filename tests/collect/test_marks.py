"""Hashes of addresses and devices: what counts as the same, and when they go."""

import pytest

from pickapic.collect.people import marks
from pickapic.collect.tables import marks as table

SECRET = "a secret that is long enough for this"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("93.184.216.34", "93.184.216.34", True),
        ("93.184.216.34", "93.184.216.35", False),
        ("93.184.216.34", "::ffff:93.184.216.34", True),
        ("2606:2800:220:1::1", "2606:2800:220:1:ffff::9", True),
        ("2606:2800:220:1::1", "2606:2800:220:2::1", False),
    ],
)
def test_a_household_has_one_address(one, other, same):
    first, second = marks.address_mark(SECRET, one), marks.address_mark(SECRET, other)
    assert (first == second) is same
    assert len(first.digest) == 32
    assert first != marks.address_mark("another secret", one)


@pytest.mark.parametrize(
    "none", ["127.0.0.1", "::1", "10.0.0.7", "192.168.1.1", "fe80::1%eth0", "testclient", ""]
)
def test_what_is_no_public_address_is_no_mark(none):
    assert marks.address_mark(SECRET, none) is None


def test_a_mark_is_written_at_most_once_a_day_and_swept_after_its_days(hands):
    user = hands.guest()
    seen = (marks.device_mark(SECRET, "abc"), marks.address_mark(SECRET, "93.184.216.34"))
    hands.write(marks.note, user, (), hands.now)
    begin = hands.now
    hands.write(marks.note, user, seen, hands.now)
    hands.later(3600)
    hands.write(marks.note, user, seen, hands.now)
    assert [(row.kind, row.last_at) for row in hands.rows(table)] == [("device", begin), ("address", begin)]
    hands.later(23 * 3600)
    hands.write(marks.note, user, seen[:1], hands.now)
    assert [row.last_at for row in hands.rows(table)] == [hands.now, begin]
    assert [one.kind for one in hands.read(marks.of_user, user)] == ["device", "address"]
    hands.later(29 * 86400)
    assert hands.write(marks.sweep, hands.now, 30) == 1
    assert [row.kind for row in hands.rows(table)] == ["device"]
    hands.later(86400)
    assert hands.write(marks.sweep, hands.now, 30) == 1
