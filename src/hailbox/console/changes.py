"""Waking the open pages when something they show has changed."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Changes:
    """Counts changes, which any thread may tell of, and wakes those that wait for one in the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: set[asyncio.Event] = set()
        self.count = 0

    def tell(self) -> None:
        """Something has changed."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: the console has ended
            self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        self.count += 1
        for event in self._waiting:
            event.set()

    async def wait(self, seen: int, timeout: float) -> int:
        """Return the count once it is not `seen` any more, or `timeout` seconds have passed."""
        event = asyncio.Event()
        self._waiting.add(event)
        try:
            if self.count == seen:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(event.wait(), timeout)
        finally:
            self._waiting.discard(event)
        return self.count


async def in_thread(function: Callable[[], T]) -> T:
    """Run it in a thread that does not keep the program from ending, and return what it does, or raise what it
    raises."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, error = None, None
        try:
            result = function()
        except Exception as raised:
            error = raised
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, daemon=True).start()
    return await future
