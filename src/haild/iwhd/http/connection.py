"""A connection to a client: what the HTTP library's parser refuses, answered as the image warehouse answers."""

from __future__ import annotations

from aiohttp import web
from aiohttp.http_exceptions import BadHttpMethod

from haild.http import requestline
from haild.http.connection import HttpConnection


class Connection(HttpConnection):
    """Answers errors without a body (iwhd.md 4 and 4.1)."""

    _speaks_http = False

    def data_received(self, data: bytes) -> None:
        """Note whether it is HTTP that the client speaks."""
        if data and self.between_requests:
            self._speaks_http = requestline.speaks_http(data)
        super().data_received(data)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """400 for malformed HTTP, but 404 for an unknown method: the contract answers every wrong verb so."""
        if isinstance(exc, BadHttpMethod) and self._speaks_http:
            status = 404
        response = web.StreamResponse(status=status, headers={"Server": "iwhd"})
        response.content_length = 0
        response.force_close()
        return response
