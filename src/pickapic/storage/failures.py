"""What a store refuses, in words for whoever has to mend it.

obstore's errors share only `Exception`, and which of a dozen reasons it was stands in the provider's answer alone.
"""

from __future__ import annotations

import re
from typing import Literal

Kind = Literal["missing", "rejected", "forbidden", "full", "away"]

# In the order in which they are looked for: a provider's answer may hold several of these words.
_SIGNS: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    ("missing", re.compile(r"NoSuchBucket|ContainerNotFound|specified (?:bucket|container) does not exist")),
    (
        "rejected",
        re.compile(
            r"InvalidAccessKeyId|SignatureDoesNotMatch|ExpiredToken|InvalidToken|TokenRefreshRequired"
            r"|AuthenticationFailed|AuthorizationFailure|InvalidAuthenticationInfo|invalid_grant|401 Unauthorized"
            r"|token request|CredentialsNotLoaded|MissingCredentials|No credentials|container credentials"
        ),
    ),
    (
        "forbidden",
        re.compile(r"403 Forbidden|AccessDenied|AuthorizationPermissionMismatch|[Pp]ermission denied"),
    ),
    (
        "full",
        re.compile(r"No space left|quota exceeded|QuotaExceeded|File too large|os error (?:27|28|122)\b"),
    ),
)
_WORDS: dict[Kind, str] = {
    "missing": "the bucket does not exist",
    "rejected": "the key is missing, wrong or expired",
    "forbidden": "that is not permitted",
    "full": "there is no room left",
    "away": "it does not answer as it should",
}
_REASONS = (
    re.compile(r"<Code>([^<]{1,80})</Code>"),
    re.compile(r"status code: ([0-9]{3} [A-Za-z ]{0,40})"),
    re.compile(r"HTTP error: ([^\n]{1,200})"),
)
REASON_LENGTH = 200


class StoreError(OSError):
    """The image store could not do what was asked; `kind` says why, `words` too, without naming anything."""

    def __init__(self, doing: str, kind: Kind, reason: str) -> None:
        super().__init__(f"the image store cannot {doing}: {_WORDS[kind]} ({reason})")
        self.kind: Kind = kind
        self.words = _WORDS[kind]

    @property
    def lasting(self) -> bool:
        """Whether somebody has to mend it: a bucket, a key or a permission."""
        return self.kind in ("missing", "rejected", "forbidden")


def explain(error: Exception, doing: str) -> StoreError:
    """Return `error` of obstore as a StoreError; `doing` says what was tried, for instance `write`."""
    if isinstance(error, StoreError):
        return error
    text = str(error)
    kind = "forbidden" if isinstance(error, PermissionError) else _kind_of(text)
    reasons = [found[1] for sign in _REASONS if (found := sign.search(text))]
    reason = reasons[0] if reasons else text.partition("\n")[0]
    return StoreError(doing, kind, reason.strip()[:REASON_LENGTH])


def _kind_of(text: str) -> Kind:
    for kind, sign in _SIGNS:
        if sign.search(text):
            return kind
    return "away"


def names_no_bucket(error: FileNotFoundError) -> bool:
    """Return whether not the file is missing but the bucket, which obstore reports alike."""
    return _SIGNS[0][1].search(str(error)) is not None
