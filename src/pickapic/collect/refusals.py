"""Why a wish is refused: the web turns each kind into a status code, and shows the message in the reader's language.

A message is a template of English text and the values in it, as translators need it:

    PromptError("The prompt has {count} characters; at most {most} are possible.", count=612, most=500)
"""

from __future__ import annotations

from pickapic.records import InputError


def translatable(text: str) -> str:
    """Return `text`; it tells translators of a template that stands apart from where it is refused."""
    return text


class RefusalError(Exception):
    """Something that somebody wished is not done, and nothing has changed."""

    code = "refused"
    """What a program reads; subclasses have their own."""

    def __init__(self, template: str, **values: object) -> None:
        super().__init__(template.format(**values) if values else template)
        self.template = template
        self.values = values


class PromptError(RefusalError, InputError):
    """The prompt cannot be used as it is; nothing was queued."""

    code = "prompt"


class NotFoundError(RefusalError):
    """There is no such thing, or it is somebody else's: a stranger must not learn which."""

    code = "not_found"


class ConflictError(RefusalError):
    """It was already answered otherwise, or it is too late."""

    code = "conflict"


class NotShownError(ConflictError):
    """A pick of images that its user was never sent."""

    code = "not_shown"


class ForbiddenError(RefusalError):
    """This person may not do that (now); `code` says why: `banned`, `consent`, `role`, `sign_in`."""

    def __init__(self, code: str, template: str, **values: object) -> None:
        super().__init__(template, **values)
        self.code = code


class LimitError(RefusalError):
    """Too much in too short a time."""

    code = "too_many"

    def __init__(self, template: str, retry_after: int, **values: object) -> None:
        super().__init__(template, **values)
        self.retry_after = retry_after
        """Whole seconds after which it is worth trying again."""
