"""An event loop in a thread of its own, which keeps a session alive while the user thinks."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

T = TypeVar("T")

_CANCELLATION: Final = 3.0
"""Seconds that an interrupted command has for its end: it may have to tell the server."""


class Background:
    """Runs coroutines one at a time for a thread that waits for them. A context; its end ends the loop."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="shell", daemon=True)
        self._task: asyncio.Task[Any] | None = None

    def __enter__(self) -> Background:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(TimeoutError):
            self._submit(_end_others()).result(_CANCELLATION)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CANCELLATION)

    def _submit(self, coroutine: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        async def run() -> T:
            self._task = asyncio.current_task()
            return await coroutine

        return asyncio.run_coroutine_threadsafe(run(), self._loop)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run it to its end. KeyboardInterrupt cancels it, and is raised again when it has ended."""
        future = self._submit(coroutine)
        try:
            return future.result()
        except KeyboardInterrupt:
            self._loop.call_soon_threadsafe(self._cancel)
            with contextlib.suppress(concurrent.futures.CancelledError, Exception):
                future.result(_CANCELLATION)
            raise

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()


async def _end_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
