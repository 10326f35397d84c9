"""Who sends a request: signatures V2 and V4, in headers and in the query (tabled.md sections 7 and 17.2).

No request gets further than this on a signature that was not verified. Unknown users and wrong signatures are
answered alike, and an unknown user's signature is computed all the same, so that names cannot be probed.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from haild.tabled.s3.dates import parse_date
from haild.tabled.s3.errors import S3Error
from haild.tabled.s3.headers import Headers, effective
from haild.tabled.s3.sessions import Session
from haild.wire.numbers import decimal
from haild.wire.s3 import awschunked, sigv2, sigv4

SKEW: Final = 900.0
"""Seconds that a client's clock may be off (S3: RequestTimeTooSkewed)."""
LONGEST_PRESIGN: Final = 604_800

_NOBODY: Final = secrets.token_hex(20)
"""Stands in for the password of an unknown user."""


@dataclass(frozen=True, slots=True)
class RequestFacts:
    """The parts of a request that signatures cover, as received."""

    method: str
    target: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    bucket_in_host: str
    token_seen: bool = False
    """Whether a security token has been taken into account."""
    body_hash: str = ""
    """SHA-256 of the body, where that is known already: then no header has to name it, and STS may be meant."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who it is (None: anonymous) and what was promised about the body.

    `payload` is the value of x-amz-content-sha256, empty without one; `seed` starts the chain of signed frames.
    """

    user: str | None
    payload: str = ""
    seed: awschunked.Seed | None = None
    presigned: bool = False
    version: int = 0
    """Of the signature: 2 or 4; 0 for an anonymous request."""
    session: Session | None = None
    """The session in which the user acts, with temporary credentials."""


Passwords = Callable[[str], Awaitable[str | None]]
Sessions = Callable[[str], Awaitable[Session]]
"""From a token to what it holds. Raises InvalidToken."""


class Authenticator:
    """Verifies requests against the users' passwords."""

    def __init__(self, passwords: Passwords, *, region: str = "", sessions: Sessions | None = None) -> None:
        self._passwords = passwords
        self._sessions = sessions
        self._region = region

    async def identify(self, facts: RequestFacts, now: float) -> Identity:
        """The identity of the sender of a request received at `now` (seconds since 1970). Raises S3Error."""
        value = facts.headers.get("Authorization")
        by_query = "X-Amz-Signature" in facts.query or "X-Amz-Algorithm" in facts.query
        by_old_query = "Signature" in facts.query or "AWSAccessKeyId" in facts.query
        if value is not None and (by_query or by_old_query):
            raise S3Error("InvalidArgument", "Only one auth mechanism allowed.")
        token = _token(facts)
        if token is not None:
            return await self._of_session(facts, token, now)
        if value is not None:
            if value.startswith("AWS4-"):
                return await self._header_v4(facts, value, now)
            return await self._header_v2(facts, value, now)
        if by_query:
            return await self._query_v4(facts, now)
        if by_old_query:
            return await self._query_v2(facts, now)
        return Identity(None, facts.headers.get("x-amz-content-sha256", ""))

    async def _of_session(self, facts: RequestFacts, token: str, now: float) -> Identity:
        if self._sessions is None:
            raise invalid_token()
        session = await self._sessions(token)

        async def secret(key: str) -> str | None:
            return session.secret if key == session.key else None

        without = replace(facts, token_seen=True)
        identity = await Authenticator(secret, region=self._region).identify(without, now)
        if identity.user is None:
            raise S3Error("AccessDenied", "A security token without a signature proves nothing.")
        if await self._passwords(session.user) is None:
            raise invalid_token()
        if now >= session.expires:
            raise S3Error("ExpiredToken", "The provided token has expired.")
        return replace(identity, user=session.user, session=session)

    async def _password(self, user: str) -> tuple[str, bool]:
        password = await self._passwords(user)
        return (_NOBODY, False) if password is None else (password, True)

    async def _header_v2(self, facts: RequestFacts, value: str, now: float) -> Identity:
        claimed = sigv2.parse_authorization(value)
        if claimed is None:
            raise S3Error("InvalidArgument", "The Authorization header is not one of AWS.")
        password, known = await self._password(claimed.key)
        right = _verify_v2(claimed.signature, facts, password)
        if not (right and known):
            raise _mismatch()
        sent = parse_date(facts.headers.get("x-amz-date") or facts.headers.get("Date") or "")
        if sent is None:  # without a date it could be sent again for ever
            raise _no_date()
        _check_skew(sent, now)
        return Identity(claimed.key, facts.headers.get("x-amz-content-sha256", ""), version=2)

    async def _query_v2(self, facts: RequestFacts, now: float) -> Identity:
        expires = facts.query.get("Expires", "")
        whole = "Signature" in facts.query and "AWSAccessKeyId" in facts.query
        deadline = decimal(expires, 0, 10**15)
        if not whole or deadline is None:
            raise S3Error(
                "AccessDenied",
                "Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters",
            )
        user = facts.query["AWSAccessKeyId"]
        password, known = await self._password(user)
        right = _verify_v2(facts.query["Signature"], facts, password, expires)
        if not (right and known):
            raise _mismatch()
        if now > deadline:
            raise S3Error("AccessDenied", "Request has expired.")
        return Identity(user, facts.headers.get("x-amz-content-sha256", ""), presigned=True, version=2)

    async def _header_v4(self, facts: RequestFacts, value: str, now: float) -> Identity:
        if not value.startswith(f"{sigv4.ALGORITHM} "):
            raise S3Error("NotImplemented", "Of version 4 only AWS4-HMAC-SHA256 is implemented.")
        try:
            claimed = sigv4.parse_authorization(value)
        except sigv4.MalformedError as error:
            raise S3Error("AuthorizationHeaderMalformed", str(error)) from None
        moment, timestamp = _time_of(facts.headers)
        services = ("sts", "iam", "s3") if facts.body_hash else ("s3",)
        self._check_scope(claimed, timestamp, "AuthorizationHeaderMalformed", services)
        payload = facts.body_hash or facts.headers.get("x-amz-content-sha256")
        if payload is None:
            raise S3Error("InvalidRequest", "Missing required header for this request: x-amz-content-sha256")
        _check_signed_headers(facts.headers, claimed)
        password, known = await self._password(claimed.key)
        right = _verify_v4(claimed, facts, password, timestamp, payload)
        if not (right and known):
            raise _mismatch()
        _check_skew(moment.timestamp(), now)
        seed = None
        if payload in awschunked.KINDS:
            key = sigv4.signing_key(password, claimed.scope)
            seed = awschunked.Seed(key, timestamp, claimed.scope, claimed.signature)
        return Identity(claimed.key, payload, seed, version=4)

    async def _query_v4(self, facts: RequestFacts, now: float) -> Identity:
        query = facts.query
        wrong = "AuthorizationQueryParametersError"
        if query.get("X-Amz-Algorithm") != sigv4.ALGORITHM:
            raise S3Error(wrong, 'X-Amz-Algorithm only supports "AWS4-HMAC-SHA256".')
        names = ("X-Amz-Credential", "X-Amz-SignedHeaders", "X-Amz-Signature")
        if any(name not in query for name in (*names, "X-Amz-Date", "X-Amz-Expires")):
            raise S3Error(wrong, "A parameter of the signature is missing.")
        try:
            claimed = sigv4.claim(*(query[name] for name in names))
        except sigv4.MalformedError as error:
            raise S3Error(wrong, str(error)) from None
        moment = sigv4.parse_timestamp(query["X-Amz-Date"])
        if moment is None:
            raise S3Error(wrong, "X-Amz-Date must be in the form YYYYMMDDTHHMMSSZ.")
        expires = query["X-Amz-Expires"]
        number = decimal(expires, 1, LONGEST_PRESIGN)
        if number is None:
            raise S3Error(wrong, "X-Amz-Expires must be from 1 to 604800 seconds.")
        self._check_scope(claimed, query["X-Amz-Date"], wrong)
        _check_signed_headers(facts.headers, claimed)
        password, known = await self._password(claimed.key)
        payload = query.get("X-Amz-Content-Sha256") or facts.headers.get("x-amz-content-sha256", "")
        right = _verify_v4(claimed, facts, password, query["X-Amz-Date"], payload or sigv4.UNSIGNED_PAYLOAD)
        if payload and not right:  # most SDKs sign addresses without the hash, also where they send it
            right = _verify_v4(claimed, facts, password, query["X-Amz-Date"], sigv4.UNSIGNED_PAYLOAD)
        if not (right and known):
            raise _mismatch()
        age = now - moment.timestamp()
        if age > number:
            raise S3Error("AccessDenied", "Request has expired.")
        if age < -SKEW:
            raise S3Error("AccessDenied", "Request is not yet valid.")
        return Identity(claimed.key, payload, presigned=True, version=4)

    def _check_scope(
        self, claimed: sigv4.Authorization, timestamp: str, code: str, services: tuple[str, ...] = ("s3",)
    ) -> None:
        if claimed.scope.service not in services:
            raise S3Error(code, "The service of the credential must be s3.")
        if claimed.scope.date != timestamp[:8]:
            raise S3Error(code, "The day of the credential is not that of the request.")
        if self._region and claimed.scope.region != self._region:
            text = f"the region '{claimed.scope.region}' is wrong; expecting '{self._region}'"
            raise S3Error(code, text, fields={"Region": self._region})


def _token(facts: RequestFacts) -> str | None:
    """The security token of a request that has not been looked at yet; None without one."""
    if facts.token_seen:
        return None
    token = facts.headers.get("x-amz-security-token")
    if token is not None:
        return token
    return next((value for name, value in facts.query.items() if name.lower() == "x-amz-security-token"), None)


def invalid_token() -> S3Error:
    """The token is none of this server's."""
    return S3Error("InvalidToken", "The provided token is malformed or otherwise invalid.")


def _verify_v4(claimed: sigv4.Authorization, facts: RequestFacts, secret: str, timestamp: str, payload: str) -> bool:
    path, mark, query = facts.target.partition("?")
    # A `+` of the query is a blank; some clients sign it as one, and some as the character that they send.
    queries = [query, query.replace("+", "%20")] if "+" in query else [query]
    return any(
        sigv4.verify(
            claimed,
            facts.method,
            path + mark + text,
            facts.headers,
            secret=secret,
            timestamp=timestamp,
            payload_hash=payload,
        )
        for text in queries
    )


def _verify_v2(claimed: str, facts: RequestFacts, secret: str, expires: str | None = None) -> bool:
    headers = effective(facts.headers, facts.query)
    if expires is not None:
        missing = [
            (n, facts.query[n])
            for n in ("content-type", "content-md5", "x-amz-security-token")
            if n in facts.query and n not in headers
        ]
        headers = Headers([*headers.items(), *missing]) if missing else headers
    targets = [facts.target]
    path, mark, query = facts.target.partition("?")
    if path.count("/") == 1 and not facts.bucket_in_host:
        # boto3 asks for /bucket and signs /bucket/, which is the same.
        targets.append(f"{path}/{mark}{query}")
    return any(
        sigv2.verify(
            claimed,
            facts.method,
            target,
            headers,
            secret=secret,
            bucket_in_host=facts.bucket_in_host,
            expires=expires,
        )
        for target in targets
    )


def _time_of(headers: Mapping[str, str]) -> tuple[datetime, str]:
    text = headers.get("x-amz-date")
    if text is not None:
        moment = sigv4.parse_timestamp(text)
        if moment is not None:
            return moment, text
    else:
        seconds = parse_date(headers.get("Date", ""))
        if seconds is not None:
            moment = datetime.fromtimestamp(seconds, UTC)
            return moment, moment.strftime(sigv4.TIMESTAMP_FORMAT)
    raise _no_date()


def _no_date() -> S3Error:
    return S3Error("AccessDenied", "AWS authentication requires a valid Date or x-amz-date header.")


def _check_signed_headers(headers: Mapping[str, str], claimed: sigv4.Authorization) -> None:
    signed = claimed.signed_headers
    unsigned = [name for name in {n.lower() for n in headers} if name.startswith("x-amz-") and name not in signed]
    if "host" not in signed or unsigned:
        listed = ", ".join(sorted(unsigned)) or "host"
        raise S3Error(
            "AccessDenied",
            "There were headers present in the request which were not signed.",
            fields={"HeadersNotSigned": listed},
        )


def _check_skew(sent: float, now: float) -> None:
    if abs(sent - now) > SKEW:
        raise S3Error(
            "RequestTimeTooSkewed", "The difference between the request time and the current time is too large."
        )


def _mismatch() -> S3Error:
    return S3Error(
        "SignatureDoesNotMatch",
        "The request signature we calculated does not match the signature you provided. "
        "Check your user name, password and signing method.",
    )
