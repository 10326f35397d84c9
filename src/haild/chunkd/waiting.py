"""Waiting for work on another thread that cannot be called back."""

from __future__ import annotations

import asyncio
from typing import TypeVar

T = TypeVar("T")


async def settled(future: asyncio.Future[T]) -> T:
    """The result of `future`, once it has one. Cancelling takes effect only then.

    What a thread does with a descriptor or in a transaction goes on in any case; who gave up waiting would
    close the descriptor under its feet.
    """
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait({future})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not future.cancelled():
            future.exception()
        raise cancelled
    return future.result()
