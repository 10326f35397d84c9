"""POST of a message to a webhook: any HTTP server that is to be told of events."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Self

import aiohttp

from haild.client.http import ServiceError, UnreachableError


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

    async def post(self, url: str, content: bytes, headers: Mapping[str, str]) -> None:
        """Send a message; it was taken when this returns. Raises ServiceError."""
        try:
            async with self._session.post(url, data=content, headers=headers, allow_redirects=False) as response:
                if not 200 <= response.status < 300:
                    raise ServiceError(f"{url} answers {response.status}")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise UnreachableError(f"{url}: {error or type(error).__name__}") from error
