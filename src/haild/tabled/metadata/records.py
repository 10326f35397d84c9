"""The records of the metadata, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Generic, NamedTuple, TypeVar

from haild.tabled.s3.acl import Acl

NULL_VERSION: Final = "null"
"""The version id of an object that was stored while versioning was not enabled."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket; `versioning` is empty (never set), `Enabled` or `Suspended`; `created` in seconds since 1970."""

    name: str
    created: float
    acl: Acl
    versioning: str = ""
    settings: frozenset[str] = frozenset()
    """Names of the settings (policy, cors, ...) that the bucket has."""

    @property
    def owner(self) -> str:
        """The owning user."""
        return self.acl.owner


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a stored body: its id, the first byte and the number of bytes."""

    body: int
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class PartSize:
    """One part of a multipart object: number, bytes, and its checksum in base64 (may be empty)."""

    number: int
    size: int
    checksum: str = ""


@dataclass(frozen=True, slots=True)
class ObjectRecord:
    """An object, one version of it, or a delete marker.

    `etag` is bare (no quotes); `modified` in seconds since 1970; `headers` are kept as received; `checksum` maps
    an algorithm (crc32, ...) to base64, and `type` to COMPOSITE or FULL_OBJECT. `upload` is the id of the multipart
    upload that it was, empty for any other. `sequence` is given by the database.
    """

    bucket: str
    key: str
    size: int
    etag: str
    modified: float
    acl: Acl
    sequence: int = 0
    version: str = NULL_VERSION
    marker: bool = False
    current: bool = True
    headers: Mapping[str, str] = field(default_factory=dict)
    segments: tuple[Segment, ...] = ()
    parts: tuple[PartSize, ...] = ()
    checksum: Mapping[str, str] = field(default_factory=dict)
    tags: tuple[tuple[str, str], ...] = ()
    upload: str = ""
    encryption: Mapping[str, str] = field(default_factory=dict)
    """How the bodies are encrypted (`encryption.spec`); empty: not at all."""
    lock: Mapping[str, str] = field(default_factory=dict)
    """Retention and legal hold (`s3.objectlock`)."""

    @property
    def owner(self) -> str:
        """The user who stored it."""
        return self.acl.owner


@dataclass(frozen=True, slots=True)
class StoredBody:
    """A body that was just written to storage nodes: id, bytes and the ids of the nodes that hold it durably."""

    body: int
    size: int
    nodes: tuple[int, ...]
    cipher: str = ""
    """The wrapped key of an encrypted body (`encryption.keyring`); `size` then counts the bytes of its frames."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A multipart upload in progress; `initiated` in seconds since 1970."""

    upload: str
    bucket: str
    key: str
    initiated: float
    acl: Acl
    headers: Mapping[str, str]
    tags: tuple[tuple[str, str], ...] = ()
    checksum_algorithm: str = ""
    checksum_type: str = ""
    encryption: Mapping[str, str] = field(default_factory=dict)
    lock: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Part:
    """A part of an upload in progress."""

    number: int
    size: int
    etag: str
    modified: float
    segments: tuple[Segment, ...]
    checksum: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ListQuery:
    """What a listing asks for. `after` is exclusive; `after_version` continues inside a key (versions only)."""

    bucket: str
    prefix: str = ""
    delimiter: str = ""
    after: str = ""
    limit: int = 1000
    after_version: str = ""


class Listed(NamedTuple):
    """An object as a listing shows it. A tuple of what is stored, for a page makes a thousand of them."""

    key: str
    size: int
    etag: str
    modified: float
    acl: str
    """As text (`s3.acl`)."""
    checksum: str = ""
    """A JSON object of algorithm and value, and the type; empty without one."""
    headers: str = ""
    """The kept headers as a JSON object, where they may name a storage class; else empty."""


class ListedVersion(NamedTuple):
    """A version or a delete marker as a listing shows it."""

    listed: Listed
    version: str
    marker: bool
    current: bool

    @property
    def key(self) -> str:
        """The object's key."""
        return self.listed.key


Entry = TypeVar("Entry", Listed, ListedVersion)


@dataclass(frozen=True, slots=True)
class Page(Generic[Entry]):
    """One page of a listing: entries and common prefixes, each sorted; `last` is where the next page goes on."""

    entries: list[Entry]
    prefixes: list[str]
    truncated: bool
    last: str = ""
    last_version: str = ""


@dataclass(frozen=True, slots=True)
class UploadPage:
    """One page of the uploads in progress."""

    uploads: list[Upload]
    prefixes: list[str]
    truncated: bool


@dataclass(frozen=True, slots=True)
class Deletion:
    """What a delete did: version id removed or of the new marker, and whether that is a delete marker."""

    version: str = ""
    marker: bool = False
    found: bool = False
