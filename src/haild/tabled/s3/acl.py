"""Access control lists: canned names, grants, and the question who may do what (tabled.md section 8). Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from haild.tabled.s3.errors import S3Error
from haild.wire.s3 import xml as s3xml

ANONYMOUS = "*"
AUTHENTICATED = "@"
"""Grantees that are not users: everybody, and every authenticated user. Neither is a possible user name."""

PERMISSIONS = ("READ", "WRITE", "READ_ACP", "WRITE_ACP")
_GROUP_URI = {
    ANONYMOUS: "http://acs.amazonaws.com/groups/global/AllUsers",
    AUTHENTICATED: "http://acs.amazonaws.com/groups/global/AuthenticatedUsers",
}
_XSI = "http://www.w3.org/2001/XMLSchema-instance"
_CANNED: dict[str, tuple[tuple[str, str], ...]] = {
    "private": (),
    "public-read": ((ANONYMOUS, "READ"),),
    "public-read-write": ((ANONYMOUS, "READ"), (ANONYMOUS, "WRITE")),
    "authenticated-read": ((AUTHENTICATED, "READ"),),
    "bucket-owner-read": (),
    "bucket-owner-full-control": (),
}


@dataclass(frozen=True, slots=True)
class Acl:
    """Who owns a bucket or object, and the grants beyond the owner's full control."""

    owner: str
    grants: tuple[tuple[str, str], ...] = ()

    def allows(self, user: str | None, permission: str) -> bool:
        """True if `user` (None: anonymous) has `permission`. Public grants hold for everybody."""
        if user is not None and user == self.owner:
            return True
        for grantee, granted in self.grants:
            fits = grantee == ANONYMOUS or (user is not None and grantee in (AUTHENTICATED, user))
            if fits and granted in (permission, "FULL_CONTROL"):
                return True
        return False


def canned(name: str, owner: str, bucket_owner: str = "") -> Acl:
    """The list that a canned name stands for. Raises InvalidArgument for an unknown name."""
    lower = name.lower() or "private"
    grants = _CANNED.get(lower)
    if grants is None:
        raise S3Error(
            "InvalidArgument",
            "This is not a canned ACL.",
            fields={"ArgumentName": "x-amz-acl", "ArgumentValue": name},
        )
    if bucket_owner and bucket_owner != owner and lower.startswith("bucket-owner-"):
        grants = ((bucket_owner, "READ" if lower == "bucket-owner-read" else "FULL_CONTROL"),)
    return Acl(owner, grants)


def refuse_grants(names: Iterable[str]) -> None:
    """Raise NotImplemented for x-amz-grant-* headers (tabled.md 17.1)."""
    if any(name.lower().startswith("x-amz-grant-") for name in names):
        raise S3Error("NotImplemented", "x-amz-grant-* headers are not implemented.")


def to_text(acl: Acl) -> str:
    """A compact form for the database: owner, then `grantee permission` lines."""
    return "\n".join([acl.owner, *(f"{grantee} {permission}" for grantee, permission in acl.grants)])


def from_text(text: str) -> Acl:
    """The list that `to_text` wrote."""
    if "\n" not in text:
        return Acl(text)
    owner, *lines = text.split("\n")
    grants = tuple((grantee, permission) for grantee, _, permission in (line.partition(" ") for line in lines))
    return Acl(owner, grants)


def document(acl: Acl) -> bytes:
    """The AccessControlPolicy document: one Grant for each permission."""
    grants = [(acl.owner, "FULL_CONTROL"), *acl.grants]
    parts = [_grant(grantee, permission) for grantee, permission in grants]
    return s3xml.document(
        "AccessControlPolicy", s3xml.owner(acl.owner), "<AccessControlList>", *parts, "</AccessControlList>"
    )


def _grant(grantee: str, permission: str) -> str:
    uri = _GROUP_URI.get(grantee)
    kind, who = ("Group", s3xml.element("URI", uri)) if uri else ("CanonicalUser", _user(grantee))
    return (
        f'<Grant><Grantee xmlns:xsi="{_XSI}" xsi:type="{kind}">{who}</Grantee>'
        f"<Permission>{permission}</Permission></Grant>"
    )


def _user(name: str) -> str:
    text = s3xml.escape(name)
    return f"<ID>{text}</ID><DisplayName>{text}</DisplayName>"


def from_document(body: bytes, owner: str) -> Acl:
    """The list in an AccessControlPolicy document for something of `owner`.

    Raises MalformedACLError, and AccessDenied where the document names another owner.
    """
    try:
        root = s3xml.parse(body, "AccessControlPolicy")
    except s3xml.MalformedXMLError as error:
        raise S3Error("MalformedACLError", str(error)) from None
    named = root.first("Owner")
    if named is None or named.value("ID") != owner:
        raise S3Error("AccessDenied", "The owner of a bucket or object cannot be changed.")
    listed = root.first("AccessControlList")
    grants: list[tuple[str, str]] = []
    for grant in listed.all("Grant") if listed else ():
        grantee, permission = _read_grant(grant)
        if grantee != owner and (grantee, permission) not in grants:
            grants.append((grantee, permission))
    if len(grants) > 100:
        raise S3Error("MalformedACLError", "An ACL has at most 100 grants.")
    return Acl(owner, tuple(grants))


def _read_grant(grant: s3xml.Element) -> tuple[str, str]:
    permission = grant.value("Permission")
    grantee = grant.first("Grantee")
    if grantee is None or permission not in (*PERMISSIONS, "FULL_CONTROL"):
        raise S3Error("MalformedACLError", "A grant needs a grantee and a permission.")
    uri = grantee.value("URI")
    if uri:
        for name, known in _GROUP_URI.items():
            if uri == known:
                return name, permission
        raise S3Error("NotImplemented", "Only the groups AllUsers and AuthenticatedUsers are known.")
    user = grantee.value("ID")
    if not user or any(character.isspace() for character in user) or user in _GROUP_URI:
        raise S3Error("MalformedACLError", "A grantee is named by ID or URI.")
    return user, permission
