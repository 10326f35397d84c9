"""Keeps a session with one of several servers for as long as a daemon runs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from haild.backoff import Backoff
from haild.client.cld.errors import CldError
from haild.client.cld.session import Session, Transport
from haild.wire.cld.extension import DEFAULT_LEASE

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 0.5
_SETTLED: Final = 10.0
"""Seconds after which a session counts as one that worked: the next pause is the shortest again."""

logger = logging.getLogger(__name__)


Addresses = Sequence[tuple[str, int]]
Find = Callable[[], Awaitable[Addresses]]


async def keep_session(
    addresses: Addresses | Find,
    user: str,
    secret: bytes,
    use: Callable[[Session], Awaitable[None]],
    *,
    name: str,
    transport: Transport = "auto",
    lease: float = DEFAULT_LEASE,
) -> None:
    """For ever: connect to the next address, run `use(session)` until it ends or the session is lost, and again.

    `addresses` may be a function that finds them: it is asked again whenever all of them have been tried, or a
    session with the last one has ended, so that a server that has moved is found. It waits until it knows some.
    `use` is cancelled when the session is lost, and is called again with the next one: it opens and locks what it
    needs once more. Pauses grow from 0.05 s to 0.5 s, with jitter. `name` says in the log what is waited for: one
    line when something fails, one when it works again. When cancelled, the session is ended and its locks are free.
    """
    if not callable(addresses) and not addresses:
        raise ValueError("at least one address is needed")

    async def connect(host: str, port: int) -> Session:
        return await Session.connect(host, port, user=user, secret=secret, transport=transport, lease=lease)

    async def given() -> Addresses:
        return addresses if not callable(addresses) else await addresses()

    keeper = _Keeper(given, connect, use, name, expected="udp" if transport == "udp" else "tcp")
    while True:
        await keeper.once()


class _Keeper:
    def __init__(
        self,
        find: Find,
        connect: Callable[[str, int], Awaitable[Session]],
        use: Callable[[Session], Awaitable[None]],
        name: str,
        expected: str,
    ) -> None:
        self._expected = expected
        self._find = find
        self._addresses: Addresses = ()
        self._connect = connect
        self._use = use
        self._name = name
        self._backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        self._complaint = ""

    async def once(self) -> None:
        if not self._addresses:
            self._addresses = await self._find()
        (host, port), *self._addresses = self._addresses
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            await self._session(host, port)
        except (CldError, OSError) as error:
            self._complain(str(error))
        except Exception as error:
            logger.exception("%s: failed", self._name)
            self._complaint = str(error) or type(error).__name__
        if loop.time() - started > _SETTLED:
            self._backoff.reset()
        await self._backoff.rest()

    def _complain(self, text: str) -> None:
        if not self._complaint:
            logger.warning("%s: waiting for cld: %s", self._name, text)
        self._complaint = text

    async def _session(self, host: str, port: int) -> None:
        session = await self._connect(host, port)
        if session.transport != self._expected:
            if session.transport == "udp":
                logger.warning("%s: cld at %s:%d answers over UDP only", self._name, host, port)
            self._expected = session.transport
        if self._complaint:
            logger.info("%s: in session with cld at %s:%d", self._name, host, port)
            self._complaint = ""
        using = asyncio.ensure_future(self._use(session))
        losing = asyncio.ensure_future(session.wait_lost())
        try:
            await asyncio.wait({using, losing}, return_when=asyncio.FIRST_COMPLETED)
            session.raise_if_lost()
            if not using.cancelled():
                using.result()
        finally:
            losing.cancel()
            using.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await using
            await asyncio.shield(session.end())
