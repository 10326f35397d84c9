"""What every operation works with: the request as understood so far, and the answer it gives."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from haild.tabled.bodies.placement import Piece, Placement
from haild.tabled.metadata.port import Metadata
from haild.tabled.metadata.records import Bucket
from haild.tabled.s3.acl import Acl
from haild.tabled.s3.addressing import Address
from haild.tabled.s3.authentication import Identity
from haild.tabled.s3.errors import S3Error
from haild.tabled.s3.upload import Source, Upload
from haild.wire.s3 import xml as s3xml

DOCUMENT_LIMIT = 1 << 20
"""Bytes of a document in a request, unless an operation allows more."""
XML = "application/xml"
REGION = "us-east-1"
"""Where all buckets are, unless the configuration names another region."""
OWNER = "OWNER"
"""Pseudo-permission: the owner of the bucket only."""

Decide = Callable[[str | None, str, str], bool | None]
"""Of user, action and key: True if a policy allows, False if it denies, None if it says nothing."""


@dataclass(frozen=True)
class Services:
    """What operations use: the metadata, the storage nodes, the clock (seconds since 1970)."""

    metadata: Metadata
    placement: Placement
    clock: Callable[[], float]
    collect: Callable[[], None] = lambda: None
    """Tells the collector that there may be garbage."""
    lifecycle_changed: Callable[[], None] = lambda: None
    """Tells the lifecycle job that a bucket has new rules."""
    region: str = REGION
    leading: Callable[[], bool] = lambda: True
    """Whether this process still is the master; if not, what it knows may be out of date."""


@dataclass(slots=True)
class Answer:
    """An answer: bytes, or a stream of exactly `length` bytes."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    stream: AsyncGenerator[Piece, None] | None = None
    length: int | None = None


@dataclass(slots=True)
class Call:
    """One request under way. `now` is when it was received, in seconds since 1970."""

    services: Services
    method: str
    target: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    address: Address
    identity: Identity
    request_id: str
    now: float
    source: Source
    block: Callable[[], int]
    """How many bytes of the body to take at a time, at this moment."""
    before_reading: Callable[[], Awaitable[None]]
    action: str = ""
    found_bucket: Bucket | None = None
    policies: dict[str, Decide] = field(default_factory=dict)
    """What the policies of the buckets concerned decide, by bucket."""

    @property
    def metadata(self) -> Metadata:
        """The metadata."""
        return self.services.metadata

    @property
    def bucket(self) -> Bucket:
        """The bucket that the request names; it exists."""
        if self.found_bucket is None:
            raise S3Error("NoSuchBucket", "The specified bucket does not exist.")
        return self.found_bucket

    @property
    def key(self) -> str:
        """The key that the request names."""
        return self.address.key

    @property
    def user(self) -> str:
        """The authenticated user. Raises AccessDenied for anonymous requests."""
        if self.identity.user is None:
            raise access_denied()
        return self.identity.user

    def upload(self, *, promised: bool = True) -> Upload:
        """The body of the request. Raises S3Error where its headers make no sense.

        `promised`: x-amz-checksum-* headers are of the body.
        """
        return Upload(self.headers, self.identity, self.source, self.before_reading, self.block, promised=promised)

    async def document(self, root: str, limit: int = DOCUMENT_LIMIT) -> s3xml.Element:
        """The body as an XML document with that root. Raises S3Error (MalformedXML among others)."""
        body = await self.upload().read(limit)
        if not body:
            raise S3Error("MissingRequestBodyError", "Request body is empty.")
        return read_document(body, root)

    def may(
        self, action: str, permission: str, key: str = "", *, acl: Acl | None = None, of: Bucket | None = None
    ) -> bool:
        """Whether the requester may do something in the bucket (`of`: in another one).

        `action` is its name in the policy language, `permission` what the list must grant: the bucket's, or `acl`.
        """
        bucket = self.bucket if of is None else of
        decide = self.policies.get(bucket.name)
        verdict = None if decide is None else decide(self.identity.user, action, key)
        if verdict is not None:
            return verdict
        if permission == OWNER:
            return self.identity.user == bucket.owner
        listed = bucket.acl if acl is None else acl
        return listed.allows(self.identity.user, permission)


def read_document(body: bytes, root: str) -> s3xml.Element:
    """Parse a document. Raises MalformedXML."""
    try:
        return s3xml.parse(body, root)
    except s3xml.MalformedXMLError as error:
        raise S3Error("MalformedXML", f"The XML you provided is not what it should be: {error}.") from None


def access_denied() -> S3Error:
    """The requester may not do this."""
    return S3Error("AccessDenied", "Access Denied")


def xml(document: bytes, status: int = 200) -> Answer:
    """An answer with a document."""
    return Answer(status, {"Content-Type": XML}, document)


def number(query: Mapping[str, str], name: str, default: int, most: int) -> int:
    """A non-negative number from the query, at most `most`. Raises InvalidArgument."""
    text = query.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) < 11):
        raise S3Error(
            "InvalidArgument",
            f"Argument {name} must be an integer between 0 and 2147483647",
            fields={"ArgumentName": name, "ArgumentValue": text},
        )
    return min(int(text), most)


def quoted(etag: str) -> str:
    """An entity tag as headers and documents have it."""
    return f'"{etag}"'
