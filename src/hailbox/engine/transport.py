"""HTTP to the engine, over a Unix socket, TCP, TLS or ssh: the standard library's client, and connections kept.

The library's client is enough: nothing else starts as fast, and every command begins with it. Any number of threads
may ask at once; each has a connection to itself meanwhile.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import select
import socket
import subprocess
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, Any, Final
from urllib.parse import urlencode

from hailbox.engine.address import Address

TIMEOUT: Final = 60.0
"""Seconds; removing a container of a loaded engine may take several."""

_PIECE: Final = 1 << 16
_REPEATABLE: Final = ("GET", "HEAD")
_IGNORED: Final = (BrokenPipeError, ConnectionResetError)

Query = Mapping[str, Any]
"""A mapping is sent as JSON, a tuple as several values, true and false as 1 and 0; None is left out."""


class RefusalError(Exception):
    """The engine answered with an error."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(said)
        self.status = status
        self.said = said


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class _SshConnection(http.client.HTTPConnection):
    """Through the ssh client and the docker client over there, as the docker client does it itself."""

    def __init__(self, address: Address) -> None:
        super().__init__("localhost")
        parts = address.parts
        options = ["-o", "ConnectTimeout=30", "-T"]
        options += ["-l", parts.username] if parts.username else []
        options += ["-p", str(parts.port)] if parts.port else []
        there = ["docker", *(["--host", f"unix://{parts.path}"] if parts.path else []), "system", "dial-stdio"]
        self._command = ["ssh", *options, "--", str(parts.hostname), *there]
        self._program: subprocess.Popen[bytes] | None = None

    def connect(self) -> None:
        self.sock, theirs = socket.socketpair()
        self.sock.settimeout(self.timeout)
        with theirs:
            self._program = subprocess.Popen(
                self._command, stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=subprocess.DEVNULL
            )

    def close(self) -> None:
        super().close()
        if self._program is not None:
            # Whoever still reads an answer holds the socket, and with it the program.
            threading.Thread(target=self._program.wait, daemon=True).start()
            self._program = None


class Transport:
    """Requests to one engine."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._kept: list[http.client.HTTPConnection] = []
        self._lock = threading.Lock()
        self._version: str | None = None

    def ask(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        document: Any = None,
        *,
        timeout: float | None = TIMEOUT,
    ) -> Any:
        """Send a request, with `document` as JSON; return what the JSON of the answer says, None if it is empty.

        Raises RefusalError, OSError (TimeoutError after `timeout` seconds without a byte), http.client.HTTPException
        and ValueError.
        """
        with self.stream(method, path, query, document, timeout=timeout) as answer:
            delimited = answer.chunked or answer.length is not None
            body = answer.read()
        if not body and not delimited:
            raise http.client.IncompleteRead(body)  # the answer's head was cut short
        return json.loads(body) if body else None

    @contextlib.contextmanager
    def stream(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        document: Any = None,
        *,
        body: bytes | IO[bytes] | None = None,
        length: int | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Iterator[http.client.HTTPResponse]:
        """The same for an answer that is read piece by piece, and for a `body` of `length` bytes that is no JSON.

        The connection is kept if the answer has been read to its end.
        """
        target = f"{self._prefix()}{path}" + (f"?{_encoded(query)}" if query else "")
        sent = {"User-Agent": "hailbox"} | dict(headers or {})
        if document is not None:
            body = json.dumps(document).encode()
            sent["Content-Type"] = "application/json"
        elif body is not None:
            sent["Content-Type"] = "application/x-tar"
            if length is not None:
                sent["Content-Length"] = str(length)
        connection, answer = self._send(method, target, body, sent, timeout)
        try:
            if answer.status >= 400:
                raise RefusalError(answer.status, _message(answer.read(), answer.reason))
            yield answer
        finally:
            if answer.isclosed() and connection.sock is not None:
                with self._lock:
                    self._kept.append(connection)
            else:
                answer.close()
                connection.close()

    def _prefix(self) -> str:
        """The path of the version of the API that the engine speaks; asked once."""
        with self._lock:
            if self._version is not None:
                return self._version
        connection, answer = self._send("GET", "/_ping", None, {}, TIMEOUT)
        said = answer.read()
        if answer.status >= 400:
            connection.close()
            raise RefusalError(answer.status, _message(said, answer.reason))
        version = answer.getheader("Api-Version")
        with self._lock:
            self._kept.append(connection)
            self._version = f"/v{version}" if version else ""
            return self._version

    def _send(
        self,
        method: str,
        target: str,
        body: bytes | IO[bytes] | None,
        headers: Mapping[str, str],
        timeout: float | None,
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        kept = self._take()
        if kept is not None:
            try:
                return kept, _exchange(kept, method, target, body, headers, timeout)
            except (http.client.RemoteDisconnected, *_IGNORED):
                kept.close()
                # The engine closed it in this very moment. Whether it has read the request nobody knows.
                if method not in _REPEATABLE:
                    raise
            except BaseException:
                kept.close()
                raise
        connection = self._connection()
        try:
            return connection, _exchange(connection, method, target, body, headers, timeout)
        except BaseException:
            connection.close()
            raise

    def _take(self) -> http.client.HTTPConnection | None:
        """A kept connection that the engine has not closed meanwhile: what is readable now is its end."""
        while True:
            with self._lock:
                if not self._kept:
                    return None
                connection = self._kept.pop()
            if connection.sock is not None and not select.select([connection.sock], [], [], 0)[0]:
                return connection
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        parts = self._address.parts
        if parts.scheme == "unix":
            return _UnixConnection(parts.path)
        if parts.scheme == "ssh":
            return _SshConnection(self._address)
        host = str(parts.hostname)
        if not self._address.secure:
            return http.client.HTTPConnection(host, self._address.port)
        return http.client.HTTPSConnection(host, self._address.port, context=_trust(self._address))


def _trust(address: Address) -> Any:
    import ssl  # here, as hardly anybody's engine is reached by TLS

    context = ssl.create_default_context()
    given = address.certificates
    if given is None:
        return context
    if not given.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if given.folder is not None:
        authority, certificate = given.folder / "ca.pem", given.folder / "cert.pem"
        if given.verify and authority.exists():
            context.load_verify_locations(authority)
        if certificate.exists():
            context.load_cert_chain(certificate, given.folder / "key.pem")
    return context


def _exchange(
    connection: http.client.HTTPConnection,
    method: str,
    target: str,
    body: bytes | IO[bytes] | None,
    headers: Mapping[str, str],
    timeout: float | None,
) -> http.client.HTTPResponse:
    if connection.sock is None:
        connection.timeout = TIMEOUT  # for the connect
        connection.connect()
    connection.sock.settimeout(timeout)
    # An engine that refuses a body answers before it has read all of it.
    with contextlib.suppress(*_IGNORED):
        connection.request(method, target, body=body, headers=dict(headers))
    return connection.getresponse()


def _encoded(query: Query) -> str:
    def text(value: Any) -> Any:
        if isinstance(value, bool):
            return int(value)
        return json.dumps(value) if isinstance(value, dict) else value

    return urlencode({name: text(value) for name, value in query.items() if value is not None}, doseq=True)


def _message(body: bytes, reason: str) -> str:
    """What the engine says of an error: JSON with a `message`, or plain text from what stands between us."""
    text = body.decode(errors="replace").strip()
    with contextlib.suppress(ValueError, LookupError, TypeError):
        return str(json.loads(text)["message"])
    return text or reason


def pieces(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    """The body of an answer as it comes. Raises http.client.IncompleteRead where its end does not."""
    while piece := answer.read1(_PIECE):
        yield piece
    if answer.length:
        raise http.client.IncompleteRead(b"", answer.length)


def lines(stream: Iterable[bytes]) -> Iterator[bytes]:
    """The lines of a stream as they come, without their ends."""
    rest = b""
    for piece in stream:
        *whole, rest = (rest + piece).split(b"\n")
        yield from whole
    if rest:
        yield rest
