"""Asking a Docker engine: one client, made at the first request; and what holds of the engine as a whole."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from hailbox.engine.docker import objects
from hailbox.engine.port import (
    EngineMode,
    EngineVersion,
)
from hailbox.model import diskspace
from hailbox.model.errors import EngineFailedError

if TYPE_CHECKING:  # the package takes 0.1 s to import: at the first request, and not before
    from hailbox.engine.docker.address import Address
    from hailbox.engine.docker.tunnel import Tunnel

NEARLY_FULL: Final = 64 << 20
"""Bytes left on the engine's disk below which a failed build is put down to the full disk."""


class Requests:
    """How the engine is asked, wherever it is.

    Nothing is read or asked before the first request. That raises UsageError where a context is chosen that is not
    there. Any number of threads may ask at once.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: Address | None = None
        self._client: Any = None
        self._version: EngineVersion | None = None
        self._tunnel: Tunnel | None = None

    @property
    def _address(self) -> Address:
        from hailbox.engine.docker import address

        if self._found is None:
            self._found = address.find()
        return self._found

    @contextlib.contextmanager
    def _asking(self) -> Iterator[Any]:
        from hailbox.engine.docker import client, failures

        with self._lock:
            where = self._address
        try:
            with self._lock:
                if self._client is None:
                    self._client, self._version = client.connect(where)
            yield self._client
        except failures.FAILURES as error:
            raise failures.translate(error, where, self._name) from error

    @property
    def _name(self) -> str:
        """Where the engine is and, if it is no Docker, what it is."""
        known = self._version
        other = f" ({known.product} {known.version})" if known is not None and known.product != "Docker" else ""
        return f"{self._address.text}{other}"

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        """Tell of an answer that lacks what the API says of it: a defect of the engine's, or what is no engine."""
        try:
            yield
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise EngineFailedError(
                f"the engine at {self._name} answered something else than its API says: "
                f"{type(error).__name__} {error}",
                "see what it is and whether it is well: docker version",
            ) from error

    @contextlib.contextmanager
    def _removing(self, *fine: int) -> Iterator[Any]:
        """Treat 404 and the given statuses as success: the object is gone, or is what it should become."""
        from hailbox.engine.docker import failures

        with self._asking() as client:
            try:
                yield client
            except failures.FAILURES as error:
                if failures.status_of(error) not in (404, *fine):
                    raise

    def reach(self, ports: Iterable[int], *, same: bool = False) -> Mapping[int, int]:
        if self.elsewhere() is None:
            return {port: port for port in ports}
        from hailbox.engine.docker.tunnel import Tunnel

        with self._lock:
            if self._tunnel is None:
                self._tunnel = Tunnel(self._address.text)
            return self._tunnel.reach(ports, same=same)

    def elsewhere(self) -> str | None:
        return self._address.text if self._address.over_ssh else None

    def await_lost_ways(self) -> None:
        if self._tunnel is not None:
            self._tunnel.await_end()

    def version(self) -> EngineVersion:
        with self._asking() as client:
            answer = client.version()
        with self._reading():
            return objects.version(answer)

    def mode(self) -> EngineMode:
        with self._reading():
            return objects.mode(self._info())

    def _info(self) -> Any:
        with self._asking() as client:
            return client.info()

    def disk_free(self) -> int | None:
        if not self._address.on_this_machine:
            return None
        root = self._info().get("DockerRootDir") or ""
        with contextlib.suppress(OSError):
            return shutil.disk_usage(root).free
        return None

    def clock(self) -> float:
        with self._reading():
            return objects.seconds(self._info()["SystemTime"])

    def check_disk(self) -> None:
        """Raise DiskFullError if the disk with the engine's data, where we can see it, is full."""
        left = self.disk_free()
        if left is not None and left < NEARLY_FULL:
            raise diskspace.engine_full(f"{left >> 20} MiB left")


def root(client: Any) -> str:
    """Where the paths of the API begin, for requests that the package has no method for, or none that fits."""
    return f"{client.base_url}/v{client.api_version}"
