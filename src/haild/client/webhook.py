"""POST of a message to a webhook: any HTTP server that is to be told of events."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Self

import aiohttp


class WebhookClient:
    """Posts messages. Redirects are not followed: a message goes where the configuration says."""

    def __init__(self, deadline: float) -> None:
        """deadline: seconds that each message may take."""
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=deadline))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def post(self, url: str, content: bytes, headers: Mapping[str, str]) -> str:
        """Send a message; returns what went wrong, nothing if it was taken."""
        try:
            async with self._session.post(url, data=content, headers=headers, allow_redirects=False) as response:
                return "" if 200 <= response.status < 300 else f"{url} answers {response.status}"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return f"{url}: {error or type(error).__name__}"
