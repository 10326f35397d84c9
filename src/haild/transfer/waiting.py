"""Waiting for work on another thread that cannot be called back."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TypeVar

T = TypeVar("T")


async def settled(future: asyncio.Future[T]) -> T:
    """The result of `future`, once it has one. Cancelling takes effect only then.

    What a thread does with a descriptor or in a transaction goes on in any case; who gave up waiting would
    close the descriptor under its feet.
    """
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        while not future.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({future})
        if not future.cancelled():
            future.exception()
        raise
