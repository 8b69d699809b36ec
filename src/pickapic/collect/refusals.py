"""Why a wish is refused: the web turns each kind into a status code, the message is shown as it is."""

from __future__ import annotations

from pickapic.records import InputError


class PromptError(InputError):
    """The prompt cannot be used as it is; nothing was queued."""


class NotFoundError(Exception):
    """There is no such thing, or it is somebody else's: a stranger must not learn which."""


class ConflictError(Exception):
    """It was already answered otherwise, or it is too late."""


class LimitError(Exception):
    """Too much in too short a time."""

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Whole seconds after which it is worth trying again."""
