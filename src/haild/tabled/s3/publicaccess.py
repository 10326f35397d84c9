"""Block Public Access and Object Ownership: the documents, and what "public" means. Pure.

Source: S3 user guide, "Blocking public access to your Amazon S3 storage" and "Controlling ownership of objects".
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from haild.tabled.s3.acl import ANONYMOUS, AUTHENTICATED, Acl
from haild.tabled.s3.errors import S3Error
from haild.wire.s3 import xml as s3xml

BLOCK: Final = "publicAccessBlock"
OWNERSHIP: Final = "ownershipControls"
"""The settings' names."""

SWITCHES: Final = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
ENFORCED, PREFERRED, WRITER = "BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter"
OWNERSHIPS: Final = (ENFORCED, PREFERRED, WRITER)
FULL_CONTROL: Final = "bucket-owner-full-control"

_FIXED_KEYS: Final = frozenset(
    (
        "aws:principalorgid",
        "aws:principalorgpaths",
        "aws:sourceaccount",
        "aws:sourcearn",
        "aws:sourceorgid",
        "aws:sourceowner",
        "aws:sourcevpc",
        "aws:sourcevpce",
        "aws:userid",
        "aws:username",
        "s3:dataaccesspointaccount",
        "s3:dataaccesspointarn",
        "s3:x-amz-server-side-encryption-aws-kms-key-id",
    )
)
"""Condition keys that make a statement for everybody one for a known few, if their values are fixed."""
_FIXING_OPERATORS: Final = frozenset(("StringEquals", "StringLike", "ArnEquals", "ArnLike", "StringEqualsIgnoreCase"))


@dataclass(frozen=True, slots=True)
class Rules:
    """What a bucket's Block Public Access and Object Ownership come to."""

    owner: str
    """Of the bucket."""
    switches: frozenset[str] = frozenset()
    ownership: str = WRITER
    public_policy: bool = False
    """Whether the bucket's policy is public."""

    def distrusts_policy(self, user: str | None) -> bool:
        """Whether what the policy allows does not hold for this user (None: anonymous)."""
        return self.public_policy and "RestrictPublicBuckets" in self.switches and user != self.owner

    def effective(self, acl: Acl) -> Acl:
        """A bucket's or object's list as far as it counts."""
        if self.ownership == ENFORCED:
            return Acl(self.owner)
        return without_public(acl) if "IgnorePublicAcls" in self.switches else acl

    def check_acl(self, acl: Acl, canned: str | None) -> None:
        """Raise where a bucket or object may not get this list; `canned`: its name, None for grants."""
        if self.ownership == ENFORCED and canned not in ("", FULL_CONTROL):
            raise S3Error("AccessControlListNotSupported", "The bucket does not allow ACLs")
        if "BlockPublicAcls" in self.switches and is_public_acl(acl):
            raise S3Error(
                "AccessDenied", "Access Denied because public ACLs are prevented by the BlockPublicAcls setting."
            )

    def of_new_object(self, acl: Acl, canned: str | None) -> Acl:
        """The list of a new object. Raises S3Error."""
        self.check_acl(acl, canned)
        owned = self.ownership == ENFORCED or (self.ownership == PREFERRED and canned == FULL_CONTROL)
        return Acl(self.owner) if owned else acl

    def check_policy(self, text: str) -> None:
        """Raise AccessDenied where the bucket may not get this policy."""
        if "BlockPublicPolicy" in self.switches and is_public_policy(text):
            raise S3Error(
                "AccessDenied",
                "Access Denied because public policies are prevented by the BlockPublicPolicy setting.",
            )


def acl_with_ownership() -> S3Error:
    """The owner of a bucket with grants cannot be made to own all there is in it."""
    return S3Error(
        "InvalidBucketAclWithObjectOwnership",
        "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting",
    )


def read_block(root: s3xml.Element) -> str:
    """The switches that a PublicAccessBlockConfiguration turns on, as text to keep. Raises MalformedXML."""
    on = []
    for child in root.children:
        value = child.text.strip().lower()
        if child.name not in SWITCHES or value not in ("true", "false"):
            raise _malformed(f"{child.name} is not one of the settings, or neither true nor false.")
        if value == "true":
            on.append(child.name)
    return " ".join(on)


def block_document(text: str) -> bytes:
    """The PublicAccessBlockConfiguration that `read_block` read."""
    on = text.split()
    return s3xml.document("PublicAccessBlockConfiguration", *(s3xml.element(name, name in on) for name in SWITCHES))


def read_ownership(root: s3xml.Element) -> str:
    """The ownership in an OwnershipControls document. Raises MalformedXML."""
    rules = list(root.all("Rule"))
    if len(rules) != 1:
        raise _malformed("OwnershipControls have one Rule.")
    return check_ownership(rules[0].value("ObjectOwnership").strip(), "MalformedXML")


def check_ownership(name: str, code: str = "InvalidArgument") -> str:
    """The name, if it is one of OWNERSHIPS. Raises S3Error with `code`."""
    if name not in OWNERSHIPS:
        raise S3Error(code, f"Invalid x-amz-object-ownership header: {name}")
    return name


def ownership_document(text: str) -> bytes:
    """The OwnershipControls document."""
    return s3xml.document("OwnershipControls", f"<Rule>{s3xml.element('ObjectOwnership', text)}</Rule>")


def status_document(*, public: bool) -> bytes:
    """The PolicyStatus of a bucket."""
    return s3xml.document("PolicyStatus", s3xml.element("IsPublic", public))


def is_public_acl(acl: Acl) -> bool:
    """Whether a list grants something to everybody, or to every user there is."""
    return any(grantee in (ANONYMOUS, AUTHENTICATED) for grantee, _ in acl.grants)


def without_public(acl: Acl) -> Acl:
    """The list without its public grants."""
    return Acl(acl.owner, tuple(grant for grant in acl.grants if grant[0] not in (ANONYMOUS, AUTHENTICATED)))


def is_public_policy(text: str) -> bool:
    """Whether a policy, which has been accepted, allows something to everybody."""
    statements = json.loads(text).get("Statement", [])
    statements = statements if isinstance(statements, list) else [statements]
    return any(_is_public(statement) for statement in statements)


def _is_public(statement: Mapping[str, Any]) -> bool:
    if statement.get("Effect") != "Allow":
        return False
    if "NotPrincipal" not in statement and not _names_everybody(statement.get("Principal")):
        return False
    conditions = statement.get("Condition") or {}
    return not any(
        _is_fixed(operator, key.lower(), value)
        for operator, keys in conditions.items()
        for key, value in keys.items()
    )


def _names_everybody(principal: Any) -> bool:
    if isinstance(principal, dict):
        named = principal.get("AWS", [])
        return "*" in ([named] if isinstance(named, str) else named)
    return bool(principal == "*")


def _is_fixed(operator: str, key: str, value: Any) -> bool:
    values = [str(each) for each in (value if isinstance(value, list) else [value])]
    if key == "aws:sourceip":
        return operator == "IpAddress" and not any(map(_is_broad, values))
    return operator in _FIXING_OPERATORS and key in _FIXED_KEYS and not any("*" in v or "?" in v for v in values)


def _is_broad(text: str) -> bool:
    """Whether a range of addresses is so large that it means everybody: /8 of IPv4 is, and /32 of IPv6."""
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return True
    return network.prefixlen <= (8 if network.version == 4 else 32) and not network.is_private


def _malformed(text: str) -> S3Error:
    return S3Error("MalformedXML", f"The XML you provided is not what it should be: {text}")
