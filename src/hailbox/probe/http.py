"""One HTTP request at a time for the probes; the standard library's client, as nothing else starts as fast."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from hailbox.probe.outcome import ProbeError, Reached
from hailbox.probe.patience import attempt_deadline


class Client:
    """A connection to one server."""

    def __init__(self, host: str, port: int) -> None:
        self.authority = f"{host}:{port}"
        self.date = ""
        """When the server sent its last answer, by its own clock (RFC 9110, 6.6.1); empty if it did not say."""
        self._connection = http.client.HTTPConnection(host, port, timeout=attempt_deadline())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._connection.close()

    def ask(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> tuple[int, bytes]:
        """Send a request; return status and body. Raises ProbeError, OSError."""
        try:
            self._connection.request(method, target, body=body, headers=dict(headers))
            answer = self._connection.getresponse()
            self.date = answer.getheader("Date", "")
            return answer.status, answer.read()
        except http.client.RemoteDisconnected as error:
            raise ProbeError(Reached.NOTHING, "the connection was closed without an answer") from error
        except http.client.HTTPException as error:
            raise ProbeError(Reached.ANSWER, f"the answer to {method} is not HTTP: {error!r}") from error
