"""Temporary credentials: a user's access for a while, maybe less than all of it. Pure.

Nothing of a session is stored: its token holds what it is, sealed by the server (`encryption.keyring.Keyring.token`),
so it survives restarts, and what a client changes in it is noticed. Source: AWS STS API reference.
"""

from __future__ import annotations

import json
import secrets
import string
from dataclasses import asdict, dataclass
from typing import Final

from haild.tabled.s3 import policy
from haild.tabled.s3.errors import S3Error
from haild.wire.numbers import decimal

SHORTEST: Final = 900
LONGEST: Final = 129_600
"""Seconds that a session lasts (GetSessionToken, DurationSeconds)."""
POLICY_LIMIT: Final = 2048
"""Characters of a session's policy (AssumeRole, Policy)."""


@dataclass(frozen=True, slots=True)
class Session:
    """One session. `expires` in seconds since 1970; `policy` says what it may do at most (empty: all)."""

    user: str
    key: str
    secret: str
    expires: int
    policy: str = ""
    name: str = ""

    def to_bytes(self) -> bytes:
        """What the token holds."""
        return json.dumps(asdict(self), separators=(",", ":")).encode()


def from_bytes(content: bytes) -> Session:
    """The session that `to_bytes` wrote."""
    return Session(**json.loads(content))


def new(user: str, expires: float, policy_text: str = "", name: str = "") -> Session:
    """A session with new random keys. Raises MalformedPolicyDocument for a policy that is none."""
    if policy_text:
        check_policy(policy_text)
    letters = string.ascii_uppercase + string.digits
    key = "ASIA" + "".join(secrets.choice(letters) for _ in range(16))
    return Session(user, key, secrets.token_urlsafe(30), int(expires), policy_text, name)


def check_policy(text: str) -> None:
    """Raise MalformedPolicyDocument where a text is no policy of a user or session."""
    try:
        policy.parse(text, "")
    except S3Error as error:
        raise S3Error("MalformedPolicyDocument", error.message) from None


def duration(text: str, default: int, longest: int = LONGEST) -> int:
    """The seconds that a request asks for. Raises ValidationError."""
    if not text:
        return default
    seconds = decimal(text, SHORTEST, longest)
    if seconds is None:
        raise S3Error("ValidationError", f"DurationSeconds must be from {SHORTEST} to {longest}")
    return seconds
