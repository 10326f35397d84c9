"""Access control lists: canned names, grants, and the question who may do what (tabled.md section 8). Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from haild.tabled.s3.errors import S3Error
from haild.wire.s3 import xml as s3xml

ANONYMOUS: Final = "*"
AUTHENTICATED: Final = "@"
LOG_DELIVERY: Final = "&"
"""Grantees that are not users: everyone, every authenticated user, and S3's log delivery."""

MOST_GRANTS: Final = 100
PERMISSIONS: Final = ("READ", "WRITE", "READ_ACP", "WRITE_ACP")
_OWNERS_ALWAYS: Final = ("READ_ACP", "WRITE_ACP")
"""What an owner may do whatever the list says."""
_GRANT_HEADERS: Final = {
    "x-amz-grant-full-control": "FULL_CONTROL",
    "x-amz-grant-read": "READ",
    "x-amz-grant-write": "WRITE",
    "x-amz-grant-read-acp": "READ_ACP",
    "x-amz-grant-write-acp": "WRITE_ACP",
}
_GRANTEE: Final = re.compile(r'\s*(id|uri|emailaddress)\s*=\s*(?:"([^"]*)"|([^",\s]+))\s*', re.IGNORECASE)
_GROUP_URI: Final = {
    ANONYMOUS: "http://acs.amazonaws.com/groups/global/AllUsers",
    AUTHENTICATED: "http://acs.amazonaws.com/groups/global/AuthenticatedUsers",
    LOG_DELIVERY: "http://acs.amazonaws.com/groups/s3/LogDelivery",
}
_XSI: Final = "http://www.w3.org/2001/XMLSchema-instance"
_CANNED: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "private": (),
    "public-read": ((ANONYMOUS, "READ"),),
    "public-read-write": ((ANONYMOUS, "READ"), (ANONYMOUS, "WRITE")),
    "authenticated-read": ((AUTHENTICATED, "READ"),),
    "aws-exec-read": (),
    "log-delivery-write": ((LOG_DELIVERY, "WRITE"), (LOG_DELIVERY, "READ_ACP")),
    "bucket-owner-read": (),
    "bucket-owner-full-control": (),
}


@dataclass(frozen=True, slots=True)
class Acl:
    """Who owns a bucket or object, and the grants to others.

    `own`: what a list that was set grant by grant grants the owner; None: full control, as by default.
    """

    owner: str
    grants: tuple[tuple[str, str], ...] = ()
    own: tuple[str, ...] | None = None

    def allows(self, user: str | None, permission: str) -> bool:
        """True if `user` (None: anonymous) has `permission`. Public grants hold for everybody."""
        if user is not None and user == self.owner:
            own = ("FULL_CONTROL",) if self.own is None else (*self.own, *_OWNERS_ALWAYS)
            if permission in own or "FULL_CONTROL" in own:
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


def from_headers(headers: Mapping[str, str], owner: str, bucket_owner: str = "") -> Acl:
    """The list that x-amz-acl or x-amz-grant-* headers ask for; private without any. Raises S3Error.

    Users that the grants name are not looked up here (`users`).
    """
    given = [(permission, headers[name]) for name, permission in _GRANT_HEADERS.items() if name in headers]
    if not given:
        return canned(headers.get("x-amz-acl", ""), owner, bucket_owner)
    if "x-amz-acl" in headers:
        raise S3Error("InvalidRequest", "Specifying both Canned ACLs and Header Grants is not allowed")
    return _listed(owner, [(grantee, permission) for permission, text in given for grantee in _grantees(text)])


def _grantees(text: str) -> Iterator[str]:
    position = 0
    while position <= len(text):
        match = _GRANTEE.match(text, position)
        if not match or (match.end() < len(text) and text[match.end()] != ","):
            raise S3Error("InvalidArgument", "Argument format not recognized")
        value = match[2] if match[2] is not None else match[3]
        yield _group(value) if match[1].lower() == "uri" else _user_id(value)
        position = match.end() + 1


def _group(uri: str) -> str:
    for name, known in _GROUP_URI.items():
        if uri == known:
            return name
    raise S3Error("InvalidArgument", "Invalid group uri", fields={"ArgumentName": "uri", "ArgumentValue": uri})


def _user_id(user: str) -> str:
    if not user or user in _GROUP_URI or any(character.isspace() for character in user):
        raise unknown_user(user)
    return user


def unknown_user(user: str) -> S3Error:
    """There is no such user to grant anything to."""
    if "@" in user:
        text = "The e-mail address you provided does not match any account on record."
        return S3Error("UnresolvableGrantByEmailAddress", text)
    return S3Error(
        "InvalidArgument", "Invalid id", fields={"ArgumentName": "CanonicalUser/ID", "ArgumentValue": user}
    )


def _listed(owner: str, grants: list[tuple[str, str]]) -> Acl:
    """A list of these grants and no others. Raises MalformedACLError."""
    unique = list(dict.fromkeys(grants))
    if len(unique) > MOST_GRANTS:
        raise S3Error("MalformedACLError", f"An ACL has at most {MOST_GRANTS} grants.")
    own = tuple(permission for grantee, permission in unique if grantee == owner)
    others = tuple(grant for grant in unique if grant[0] != owner)
    return Acl(owner, others, None if own == ("FULL_CONTROL",) else own)


def users(acl: Acl) -> set[str]:
    """The users other than the owner whom the list names."""
    return {grantee for grantee, _ in acl.grants} - set(_GROUP_URI)


def to_text(acl: Acl) -> str:
    """A compact form for the database: owner, then `grantee permission` lines; the owner's own without grantee."""
    own = [] if acl.own is None else [f" {','.join(acl.own)}"]
    return "\n".join([acl.owner, *own, *(f"{grantee} {permission}" for grantee, permission in acl.grants)])


def from_text(text: str) -> Acl:
    """The list that `to_text` wrote."""
    if "\n" not in text:
        return Acl(text)
    owner, *lines = text.split("\n")
    own = None
    if lines and lines[0].startswith(" "):
        own = tuple(filter(None, lines.pop(0)[1:].split(",")))
    grants = tuple((grantee, permission) for grantee, _, permission in (line.partition(" ") for line in lines))
    return Acl(owner, grants, own)


def document(acl: Acl) -> bytes:
    """The AccessControlPolicy document: one Grant for each permission."""
    own = ("FULL_CONTROL",) if acl.own is None else acl.own
    grants = [*((acl.owner, permission) for permission in own), *acl.grants]
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
    if listed is None:
        raise S3Error("MalformedACLError", "There is no AccessControlList.")
    return _listed(owner, [_read_grant(grant) for grant in listed.all("Grant")])


def _read_grant(grant: s3xml.Element) -> tuple[str, str]:
    permission = grant.value("Permission")
    grantee = grant.first("Grantee")
    if grantee is None or permission not in (*PERMISSIONS, "FULL_CONTROL"):
        raise S3Error("MalformedACLError", "A grant needs a grantee and a permission.")
    uri = grantee.value("URI")
    if uri:
        return _group(uri), permission
    return _user_id(grantee.value("ID") or grantee.value("EmailAddress")), permission
