"""What every provider does: the one interface between the image warehouse and where bodies are kept.

A back end is one file in this folder with one subclass of Provider. For a service on HTTP most of it is in
haild.iwhd.provider.remote.
"""

from __future__ import annotations

import abc
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, ClassVar

from haild.iwhd.settings import ProviderSettings


class ProviderError(Exception):
    """The provider refused or failed; the text says how."""


class MissingError(ProviderError):
    """There is no such object or bucket."""


class ExistsError(ProviderError):
    """There is such a bucket already."""


class UnavailableError(ProviderError):
    """The provider cannot be reached or cannot work at the moment; it may later."""


class DamagedError(ProviderError):
    """What the provider holds is not what was put; the text names object and place."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What a body must be: its size in bytes, and the checksums of its blocks (haild.wire.blockchecksums)."""

    size: int
    sums: bytes | None = None
    afresh: bool = False
    """Whether an earlier check does not count."""


@dataclass(frozen=True, slots=True)
class Publication:
    """A body that is about to become visible, as the journal remembers it.

    `etag` is the warehouse's, unique per body; `token` is what Upload.prepare returned.
    """

    bucket: str
    key: str
    etag: str
    token: str


class Upload(abc.ABC):
    """A body being uploaded. No reader sees it before publish(), and then it is whole.

    The order is write (any number of times), prepare, publish. abort() may come at any time instead, also
    after a failure.
    """

    sums: bytes | None = None
    """After prepare(): the checksums of the body's blocks, for Expected; None where the provider has its own."""

    @abc.abstractmethod
    async def write(self, piece: bytes | memoryview) -> None:
        """Take a piece, which never changes; returns when there is room for more. Raises ProviderError."""

    @abc.abstractmethod
    async def prepare(self) -> str:
        """Get ready to publish. Returns a token by which Provider.settle finds the body again; raises ProviderError.

        A body on this host is durable now.
        """

    @abc.abstractmethod
    async def publish(self) -> None:
        """Make the body visible and durable. Raises ProviderError; then Provider.settle says what happened."""

    @abc.abstractmethod
    async def abort(self) -> None:
        """Discard the body. Never raises ProviderError."""


@dataclass(slots=True)
class Body:
    """A body, or the part of it that was asked for, of `size` bytes where that is known: a part of a file, or blocks.

    `offset` is where the part begins in the file. Before bytes of the file are sent, `check` is called with their
    offset and count in a thread; it raises DamagedError. The blocks are checked already.

    `detach` may give, in place of the blocks, what has come of the body and a descriptor of a non-blocking socket
    on which the rest will come as it is, to be closed by the caller; or None.
    """

    blocks: AsyncIterator[bytes]
    size: int | None = None
    file: BinaryIO | None = None
    offset: int = 0
    check: Callable[[int, int], None] | None = None
    detach: Callable[[], tuple[bytes, int] | None] = lambda: None


class Provider(abc.ABC):
    """A place that keeps bodies. Methods raise ProviderError or a subclass of it, nothing else."""

    types: ClassVar[tuple[str, ...]] = ()
    """The types that configurations call it by. The first is the name of its file, and that which clients can add
    (iwhd.md 5.3); the others begin with that and a hyphen."""

    needs: ClassVar[tuple[str, ...]] = ()
    """The keys that its configuration must have, besides name and type."""

    keeps_attributes: ClassVar[bool] = False
    """Whether it stores attributes, so that copies bring theirs: another warehouse does."""

    lost_body_status: ClassVar[int] = 404
    """HTTP status for a body that has a record but is not here."""

    def __init__(self, settings: ProviderSettings, spool: Path) -> None:
        """Keep the settings; made inside the event loop, sends nothing. Raises ProviderSettingsError.

        `spool` is a directory of the daemon's own, for temporary files.
        """
        self.settings = settings
        self.spool = spool

    @property
    def name(self) -> str:
        """The provider's name in the configuration."""
        return self.settings.name

    async def recover(self, tokens: frozenset[str]) -> None:  # noqa: B027 - most have nothing to do
        """Before the first request: discard what a killed daemon left, except the uploads named by `tokens`."""

    async def close(self) -> None:  # noqa: B027 - most have nothing to do
        """Release connections; nothing is called afterwards."""

    @abc.abstractmethod
    async def create_bucket(self, bucket: str) -> None:
        """Create a bucket; ExistsError if it is there already and the provider can tell."""

    @abc.abstractmethod
    async def delete_bucket(self, bucket: str) -> None:
        """Delete an empty bucket; MissingError if there is none, ProviderError if something is in it."""

    @abc.abstractmethod
    async def check_bucket(self, bucket: str) -> None:
        """MissingError unless the bucket is there and can be written to, as far as the provider can tell."""

    @abc.abstractmethod
    async def start_upload(self, bucket: str, key: str, *, length: int | None, etag: str) -> Upload:
        """Begin to store a body of `length` bytes (None: not known)."""

    @abc.abstractmethod
    async def settle(self, publication: Publication) -> bool:
        """After publish() failed or the daemon died in it: True if that body is now visible and durable.

        False if it is not and never will be. The answer stays the same until the object is put again.
        """

    @abc.abstractmethod
    def open(
        self, bucket: str, key: str, *, offset: int = 0, length: int | None = None, expected: Expected | None = None
    ) -> AbstractAsyncContextManager[Body]:
        """`length` bytes (None: the rest) of an object's body from `offset` on. Entering the context opens it.

        Raises MissingError if there is none, DamagedError if it is not as `expected`, where the provider can tell.
        """

    @abc.abstractmethod
    async def delete(self, bucket: str, key: str) -> None:
        """Delete a body; MissingError if there is none and the provider can tell."""

    async def start_copy(self, bucket: str, key: str, *, length: int | None, etag: str) -> Upload:
        """As start_upload, for a body whose primary provider is another: we are its master."""
        return await self.start_upload(bucket, key, length=length, etag=etag)

    async def set_attributes(self, bucket: str, key: str, attributes: Mapping[str, bytes]) -> None:
        """Set attributes of an object, where they are kept."""
        raise NotImplementedError(f"{self.settings.type} keeps no attributes")

    async def unset_attribute(self, bucket: str, key: str, name: str) -> None:
        """Remove an attribute of an object, where they are kept; MissingError if there is none."""
        raise NotImplementedError(f"{self.settings.type} keeps no attributes")
