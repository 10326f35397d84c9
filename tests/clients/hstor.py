"""An S3 client as they were in 2010: V2 signatures over plain sockets, as libhail's library sends them.

It shares no code with what it tests. Source: tabled.md sections 7 and 16.
"""

import base64
import hashlib
import hmac
import re
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import quote, urlsplit
from xml.sax.saxutils import unescape

SIGNED = re.compile("(acl|location|logging|torrent)$|response-")
"""Queries that are part of what is signed; the last kind came in 2011."""
PATH_CHARACTERS = "/!$&'()*,:=@"
"""What the library left as it is in a path, next to letters, digits and `-_.~`."""


@dataclass(frozen=True)
class Answer:
    """The server's answer, its header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def texts(self, element: str) -> list[str]:
        """What stands in the elements of that name, without a parser, as scripts did."""
        found = re.findall(f"<{element}>([^<]*)</{element}>", self.body.decode())
        return [unescape(text, {"&quot;": '"', "&apos;": "'"}) for text in found]


def date(now: float | None = None) -> str:
    """A moment as the library wrote it: RFC 2822 with a numeric zone."""
    return time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime(now))


def signature(secret: str, method: str, headers: Mapping[str, str], resource: str) -> str:
    """The V2 signature over a request whose header names are in lower case."""
    lines = [method, headers.get("content-md5", ""), headers.get("content-type", "")]
    lines.append("" if "x-amz-date" in headers else headers.get("date", ""))
    lines += [f"{name}:{headers[name]}" for name in sorted(headers) if name.startswith("x-amz-")]
    text = "\n".join([*lines, resource])
    return base64.b64encode(hmac.digest(secret.encode(), text.encode(), hashlib.sha1)).decode()


class Hstor:
    """One keep-alive connection."""

    def __init__(self, url: str, key: str, secret: str, *, subdomain: str = "") -> None:
        """`subdomain`: the host name below which buckets are host names; empty for path style."""
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self.key, self.secret, self.subdomain = key, secret, subdomain
        self.port = parts.port
        self.address = (parts.hostname, parts.port)
        self.host = f"{parts.hostname}:{parts.port}"
        self._connect()

    def _connect(self) -> None:
        self.socket = socket.create_connection(self.address, timeout=30)
        self.stream = self.socket.makefile("rb")

    def reconnect(self) -> None:
        """Begin again on a new connection, after the server ended this one."""
        self.stream.close()
        self.socket.close()
        self._connect()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stream.close()
        self.socket.close()

    def request(
        self,
        method: str,
        bucket: str = "",
        key: str | None = None,
        *,
        query: str = "",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request and read its answer. A bucket without a key has a slash at its end."""
        named = "/" + quote(key or "", safe=PATH_CHARACTERS)
        in_host = bool(self.subdomain and bucket)
        path = named if in_host or not bucket else f"/{bucket}{named}"
        resource = (f"/{bucket}" if in_host else "") + path + (f"?{query}" if SIGNED.match(query) else "")
        sent = {
            "host": f"{bucket}.{self.subdomain}:{self.port}" if in_host else self.host,
            "accept-encoding": "deflate, gzip",
            "date": date(),
            **{name.lower(): value for name, value in (headers or {}).items()},
        }
        if body is not None:
            sent["content-length"] = str(len(body))
        sent["authorization"] = f"AWS {self.key}:{signature(self.secret, method, sent, resource)}"
        target = path + (f"?{query}" if query else "")
        head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in sent.items())
        self.socket.sendall(head.encode() + b"\r\n")
        if body is not None and "expect" in sent:
            answer = self._answer(method)
            if answer.status != 100:
                return answer
        if body is not None:
            self.socket.sendall(body)
        return self._answer(method)

    def _answer(self, method: str) -> Answer:
        status = int(self.stream.readline().split()[1])
        headers = {}
        while line := self.stream.readline().strip():
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        nothing = method == "HEAD" or status in (100, 204, 304)
        assert "transfer-encoding" not in headers, "the client of 2010 wants a length"
        body = b"" if nothing else self.stream.read(int(headers["content-length"]))
        return Answer(status, headers, body)

    def keys(self, bucket: str, *, prefix: str = "", delimiter: str = "", page: int = 1000) -> Iterator[str]:
        """All keys, page after page, from the last key that was seen."""
        marker = ""
        while True:
            words = {"prefix": prefix, "delimiter": delimiter, "marker": marker, "max-keys": str(page)}
            query = "&".join(f"{name}={quote(value, safe='')}" for name, value in words.items() if value)
            answer = self.request("GET", bucket, query=query)
            assert answer.status == 200, answer
            found = answer.texts("Key")
            yield from (key for key in found if key != marker)
            if answer.texts("IsTruncated") != ["true"]:
                return
            marker = found[-1]
