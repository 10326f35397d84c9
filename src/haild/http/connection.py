"""A connection of the HTTP library's server that knows where requests begin, and takes targets that are not ASCII."""

from __future__ import annotations

from typing import Any, Final

from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import RequestHandler

from haild.http.requestline import TargetEncoder


class HttpConnection(RequestHandler):
    """A connection to a client.

    Where a request begins is learned from the parser: between the head of a request and its handler there is a turn
    of the event loop in which the library knows of no request, and its body may come just then.
    """

    within_head = False
    """Whether part of a request's head has come."""
    _body: StreamReader = EMPTY_PAYLOAD

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._targets: Final = TargetEncoder()

    @property
    def between_requests(self) -> bool:
        """Whether the next byte begins a request: the body of the last one has come whole, and of a head nothing."""
        return self._body.is_eof() and not self.within_head

    def data_received(self, data: bytes) -> None:
        """Hand data to the parser, but for what it refuses in a target.

        Requests that a client sends after others in one piece are left as they are.
        """
        begins = self.between_requests
        count = self._request_count
        super().data_received(self._targets.feed(data, begins=begins))
        if self._request_count > count:
            self._body = self._messages[-1][1]
            self.within_head = False
        elif begins and data.strip(b"\r\n"):
            self.within_head = True
