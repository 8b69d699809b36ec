"""What the tests of the worker share beside their workshop."""

from collections.abc import Iterator

import pytest

import failing_generators


@pytest.fixture
def plugin() -> Iterator[None]:
    """Generators that fail, installed as a plugin."""
    with failing_generators.installed():
        yield
