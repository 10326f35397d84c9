"""What every operation works with: the request as it was received, and the call that was admitted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from haild.tabled.bodies.placement import Placement
from haild.tabled.bodies.spool import Spool
from haild.tabled.encryption.keys import Keys
from haild.tabled.metadata.port import Metadata
from haild.tabled.metadata.records import Bucket
from haild.tabled.operations import context
from haild.tabled.s3.acl import Acl
from haild.tabled.s3.addressing import Address
from haild.tabled.s3.arguments import read_document
from haild.tabled.s3.authentication import Identity
from haild.tabled.s3.errors import S3Error
from haild.tabled.s3.policy import Policy
from haild.tabled.s3.publicaccess import Rules
from haild.tabled.s3.upload import Source, Upload
from haild.wire.s3 import xml as s3xml

DOCUMENT_LIMIT: Final = 1 << 20
"""Bytes of a document in a request, unless an operation allows more."""
REGION: Final = "us-east-1"
"""Where all buckets are, unless the configuration names another region."""
OWNER: Final = "OWNER"
"""Pseudo-permission: the owner of the bucket only."""


@dataclass(frozen=True)
class Services:
    """What operations use: the metadata, the storage nodes, the clock (seconds since 1970)."""

    metadata: Metadata
    placement: Placement
    clock: Callable[[], float]
    keys: Keys
    """Of encrypted bodies."""
    spool: Spool
    """For the files of forms."""
    collect: Callable[[], None] = lambda: None
    """Tells the collector that there may be garbage."""
    webhooks: Mapping[str, str] = field(default_factory=dict)
    """Where events go, by the ARN of their destination; the empty ARN takes any."""
    events_changed: Callable[[], None] = lambda: None
    """Tells the webhooks' job that there are new events."""
    lifecycle_changed: Callable[[], None] = lambda: None
    """Tells the lifecycle job that a bucket has new rules."""
    region: str = REGION
    names: frozenset[str] = frozenset()
    """Names of this server in Host, in lower case, beside loopback; `*` is every name."""
    leading: Callable[[], bool] = lambda: True
    """Whether this process still is the master; if not, what it knows may be out of date."""
    day: float = 86400.0
    """Seconds that a day of lifecycle rules has."""


@dataclass(slots=True, kw_only=True)
class Request:
    """A request as it was received. `now` is when, in seconds since 1970."""

    services: Services
    method: str
    target: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    address: Address
    request_id: str
    now: float
    source: Source
    block: Callable[[], int]
    """How many bytes of the body to take at a time, at this moment."""
    before_reading: Callable[[], None]
    remote: str = ""
    """The client's IP address."""
    own_address: str = ""
    """The IP address at which the connection arrived."""
    secure: bool = False
    """Whether it came over TLS."""

    @property
    def metadata(self) -> Metadata:
        """The metadata."""
        return self.services.metadata

    @property
    def key(self) -> str:
        """The key that the request names."""
        return self.address.key


@dataclass(slots=True, kw_only=True)
class Call(Request):
    """A request whose sender is known and admitted (`admission.admit` makes it)."""

    identity: Identity
    action: str
    """The operation's name in the policy language, for example s3:GetObject."""
    found_bucket: Bucket | None
    policies: dict[str, Policy] = field(default_factory=dict)
    """The policies of the buckets concerned, by bucket."""
    limits: tuple[Policy, ...] = ()
    """Policies of the user and the session: what they do not allow is denied."""
    rules: dict[str, Rules] = field(default_factory=dict)
    """Block Public Access and Object Ownership of the buckets that have any of it."""

    @property
    def bucket(self) -> Bucket:
        """The bucket that the request names; it exists."""
        if self.found_bucket is None:
            raise S3Error("NoSuchBucket", "The specified bucket does not exist.")
        return self.found_bucket

    @property
    def user(self) -> str:
        """The authenticated user. Raises AccessDenied for anonymous requests."""
        if self.identity.user is None:
            raise access_denied()
        return self.identity.user

    @property
    def has_body(self) -> bool:
        """Whether the request carries a body."""
        return self.headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in self.headers

    def upload(self, *, promised: bool = True, default: str = "", always: str = "") -> Upload:
        """The body of the request. Raises S3Error where its headers make no sense.

        `promised`: x-amz-checksum-* headers are of the body. `default`: the checksum to compute where the client
        names none; `always`: one to compute in any case.
        """
        return Upload(
            self.headers,
            self.identity,
            self.source,
            self.before_reading,
            self.block,
            promised=promised,
            default=default,
            always=always,
        )

    async def document(self, root: str, limit: int = DOCUMENT_LIMIT) -> s3xml.Element:
        """The body as an XML document with that root. Raises S3Error (MalformedXML among others)."""
        return read_document(await self.upload().read(limit), root)

    def within_limits(self, action: str, bucket: str, key: str = "", tags: context.Tags | None = None) -> bool:
        """Whether the policies of the user and the session allow something in a bucket (empty: in none)."""
        resource = f"{bucket}/{key}" if key else bucket or "*"
        values = context.of(self, tags) if self.limits else {}
        return all(policy.decide(self.identity.user, action, resource, values) is True for policy in self.limits)

    def may(
        self,
        action: str,
        permission: str,
        key: str = "",
        *,
        acl: Acl | None = None,
        of: Bucket | None = None,
        tags: context.Tags | None = None,
    ) -> bool:
        """Whether the requester may do something in the bucket (`of`: in another one).

        `action` is its name in the policy language, `permission` what the list must grant: the bucket's, or `acl`.
        `tags`: those of the object that it is about.
        """
        bucket = self.bucket if of is None else of
        if self.limits and not self.within_limits(action, bucket.name, key, tags):
            return False
        policy = self.policies.get(bucket.name)
        verdict = None
        if policy is not None:
            resource = f"{bucket.name}/{key}" if key else bucket.name
            verdict = policy.decide(self.identity.user, action, resource, context.of(self, tags))
        rules = self.rules.get(bucket.name)
        if verdict and rules is not None and rules.distrusts_policy(self.identity.user):
            verdict = None
        if verdict is not None:
            return verdict
        if permission == OWNER:
            return self.identity.user == bucket.owner
        listed = bucket.acl if acl is None else acl
        if rules is not None:
            listed = rules.effective(listed)
        return listed.allows(self.identity.user, permission)


def access_denied() -> S3Error:
    """The requester may not do this."""
    return S3Error("AccessDenied", "Access Denied")
