"""One request and its answer, as the daemon that answered it tells of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

CLIENT: Final = "client"
"""Any client outside of the stack's network."""
HTTP: Final = frozenset({"tabled", "iwhd"})
"""The services that speak it."""


@dataclass(frozen=True)
class Exchange:
    """A request that was answered."""

    time: float
    """When it began, seconds since the epoch."""
    source: str
    """Who asked: a replica, or CLIENT."""
    replica: str
    """Who answered."""
    service: str
    operation: str
    """By its standard name: of the S3 API, CHO_* of chunkd, CMO_* of cld, method and kind of target of iwhd."""
    bucket: str
    key: str
    """Of an object; of chunkd that of the body, of cld a path."""
    status: str
    """Of HTTP, else the name of the protocol's code."""
    received: int
    """Bytes of the request's body."""
    sent: int
    """Bytes of the answer's body, where they are known."""
    seconds: float | None
    """How long it took; None where the daemon does not know."""
    request_id: str = ""
    """What tabled sends as x-amz-request-id."""
    trace: str = ""
    """Shared by all requests that follow from one (W3C Trace Context)."""
    span: str = ""
    parent: str = ""
    method: str = ""
    target: str = ""

    @property
    def end(self) -> float:
        """When it ended."""
        return self.time + (self.seconds or 0.0)

    @property
    def place(self) -> str:
        """Bucket and key as a user writes them."""
        return f"{self.bucket}/{self.key}" if self.bucket and self.key else self.bucket or self.key

    @property
    def failed(self) -> bool:
        """Whether it is an error of the server's."""
        return self.status.startswith("5") or self.status in ("INTERNAL_ERROR", "499")


def exchange(event: Mapping[str, Any], replica: str, service: str, addresses: Mapping[str, str]) -> Exchange:
    """The exchange that a daemon's event tells of. `addresses`: which replica has which. Raises ValueError."""

    def text(name: str) -> str:
        return str(event.get(name, ""))

    try:
        seconds = event.get("seconds")
        return Exchange(
            time=float(event["time"]),
            source=addresses.get(text("peer").removeprefix("::ffff:"), CLIENT),
            replica=replica,
            service=service,
            operation=text("operation"),
            bucket=text("bucket"),
            key=text("key"),
            status=text("status"),
            received=int(event.get("received", 0)),
            sent=int(event.get("sent", 0)),
            seconds=None if seconds is None else float(seconds),
            request_id=text("id"),
            trace=text("trace"),
            span=text("span"),
            parent=text("parent"),
            method=text("method"),
            target=text("target"),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"no exchange: {error}") from error


@dataclass(frozen=True)
class Filter:
    """Which exchanges are shown: those that all that is set lets through."""

    bucket: str = ""
    status: str = ""
    """A status, or a class of them: `404`, `5xx`, `NO_SUCH_KEY`."""
    slower: float = 0.0
    """Seconds."""

    def passes(self, found: Exchange) -> bool:
        """Whether the exchange is shown."""
        if self.bucket and found.bucket != self.bucket:
            return False
        if self.status and not _is_of(found.status, self.status):
            return False
        return not self.slower or (found.seconds is not None and found.seconds >= self.slower)


def _is_of(status: str, wanted: str) -> bool:
    if len(wanted) == 3 and wanted[1:].lower() == "xx":
        return len(status) == 3 and status[0] == wanted[0]
    return status.lower() == wanted.lower()
