"""A connection to a client: what the HTTP library's parser refuses, answered as the image warehouse answers."""

from __future__ import annotations

from aiohttp import web
from aiohttp.http_exceptions import BadHttpMethod
from aiohttp.web_protocol import RequestHandler

from haild.daemon import requestline


class Connection(RequestHandler):
    """Takes names in addresses as bytes, as curl sends them; answers errors without a body (iwhd.md 4 and 4.1)."""

    _speaks_http = False

    def data_received(self, data: bytes) -> None:
        """Percent-encode the bytes of a target that are not ASCII: the parser would refuse them."""
        if self._current_request is None and not self._messages:
            line = requestline.find(data)
            self._speaks_http = line is not None
            if line is not None:
                data = requestline.with_ascii_target(data, line)
        super().data_received(data)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """400 for what is no proper HTTP, but 404 for a method that nobody knows: wrong verbs are 404 here."""
        if isinstance(exc, BadHttpMethod) and self._speaks_http:
            status = 404
        response = web.StreamResponse(status=status, headers={"Server": "iwhd"})
        response.content_length = 0
        response.force_close()
        return response
