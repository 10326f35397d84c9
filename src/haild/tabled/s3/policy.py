"""Policies of buckets and users: the document, and what it decides (S3 user guide, "Bucket policies"). Pure.

What is not understood is refused when the policy is set, never ignored: a condition that is not evaluated would
let a user in, or lock one out.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from haild.tabled.s3 import actions, policyconditions
from haild.tabled.s3.errors import S3Error
from haild.tabled.s3.policyconditions import Condition, Context
from haild.tabled.s3.wildcard import like

SETTING: Final = "policy"
LIMIT: Final = 20 << 10
"""Bytes of a policy document."""
ACCOUNT: Final = "000000000000"
"""The account that all users of a stack are of."""
ANYBODY, ANY_USER = "*", "@"
"""Principals that are not users: everybody, and every authenticated user."""

_USER_ARN: Final = re.compile(r"arn:aws[a-z-]*:iam::[\w-]*:user/(?:[\w+=,.@/-]*/)?([\w+=,.@-]+)")
_ACCOUNT_ARN: Final = re.compile(r"arn:aws[a-z-]*:iam::([\w-]+):root")
_OTHER_ARN: Final = re.compile(
    r"arn:aws[a-z-]*:(?:iam|sts)::\d{12}:(?:role|assumed-role|federated-user)/[\w+=,.@/-]+"
)
_OF_LISTINGS: Final = frozenset(("s3:prefix", "s3:delimiter", "s3:max-keys"))
"""Keys of conditions that only listings of a bucket have."""
_LISTINGS: Final = ("s3:listbucket", "s3:listbucketversions", "s3:listbucketmultipartuploads")
_PLAIN: Final = re.compile(r"[\w+=,.-][\w+=,.@-]*")


@dataclass(frozen=True)
class _Statement:
    allow: bool
    users: frozenset[str]
    but_users: bool
    actions: tuple[str, ...]
    but_actions: bool
    resources: tuple[str, ...]
    but_resources: bool
    conditions: tuple[Condition, ...]

    def applies(self, user: str | None, action: str, resource: str, context: Context) -> bool:
        if self._names(user) is self.but_users:
            return False
        if any(like(p.lower(), action.lower()) for p in self.actions) is self.but_actions:
            return False
        patterns = [policyconditions.substitute(p, context, wild=True) for p in self.resources]
        if any(like(p, resource) for p in patterns) is self.but_resources:
            return False
        return all(condition.holds(context) for condition in self.conditions)

    def _names(self, user: str | None) -> bool:
        if user is None:
            return ANYBODY in self.users
        return not self.users.isdisjoint((user, ANYBODY, ANY_USER))


@dataclass(frozen=True)
class Policy:
    """A policy that has been read."""

    statements: tuple[_Statement, ...]

    def decide(self, user: str | None, action: str, resource: str, context: Context) -> bool | None:
        """True if it allows, False if it denies, None if it says nothing. `resource` is `bucket` or `bucket/key`."""
        verdict = None
        for statement in self.statements:
            if statement.applies(user, action, resource, context):
                if not statement.allow:
                    return False
                verdict = True
        return verdict


@lru_cache(maxsize=256)
def parse(text: str, bucket: str) -> Policy:
    """Read a policy for a bucket; `bucket` empty: one of a user, without principals. Raises MalformedPolicy."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise _malformed("Policies must be valid JSON and the first byte must be '{'") from None
    if not isinstance(document, dict) or document.keys() - {"Version", "Id", "Statement"}:
        raise _malformed("Unknown field in the policy")
    if document.get("Version", "2012-10-17") not in ("2012-10-17", "2008-10-17"):
        raise _malformed("The policy must contain a valid version string")
    statements = document.get("Statement")
    if isinstance(statements, dict):
        statements = [statements]
    if not isinstance(statements, list) or not statements:
        raise _malformed("Missing required field Statement")
    return Policy(tuple(_statement(statement, bucket) for statement in statements))


def _malformed(text: str) -> S3Error:
    return S3Error("MalformedPolicy", text)


def _strings(value: Any, what: str) -> tuple[str, ...]:
    if value is None:
        raise _malformed(f"Missing required field {what}")
    values = value if isinstance(value, list) else [value]
    if not values or not all(isinstance(item, str) for item in values):
        raise _malformed(f"{what} must be a text or a list of texts")
    return tuple(values)


_FIELDS: Final = frozenset(
    ("Sid", "Effect", "Principal", "Action", "NotAction", "Resource", "NotResource", "Condition", "NotPrincipal")
)


def _statement(value: Any, bucket: str) -> _Statement:
    if not isinstance(value, dict) or value.keys() - _FIELDS:
        raise _malformed("Unknown field in a statement")
    for name in ("Action", "Resource", "Principal"):
        if name in value and f"Not{name}" in value:
            raise _malformed(f"A statement has either {name} or Not{name}")
    if value.get("Effect") not in ("Allow", "Deny"):
        raise _malformed(f"Invalid effect: {value.get('Effect')}")
    allow = value["Effect"] == "Allow"
    but_users, but_actions, but_resources = (f"Not{n}" in value for n in ("Principal", "Action", "Resource"))
    if bucket:
        if but_users and allow:
            raise _malformed("Allow with NotPrincipal is not allowed")
        users = _principals(value.get("NotPrincipal" if but_users else "Principal"))
    elif but_users or "Principal" in value:
        raise _malformed("A policy of a user has no Principal")
    else:
        users = frozenset({ANYBODY})
    named = _strings(value.get("NotAction" if but_actions else "Action"), "Action")
    if not all(actions.is_known(action) for action in named):
        raise _malformed("Policy has invalid action")
    conditions = policyconditions.read(value.get("Condition", {}))
    if bucket and not but_actions and not _can_apply(conditions, named):
        raise _malformed("Conditions do not apply to combination of actions and resources in statement")
    resources = _strings(value.get("NotResource" if but_resources else "Resource"), "Resource")
    return _Statement(
        allow,
        users,
        but_users,
        named,
        but_actions,
        tuple(_resource(text, bucket) for text in resources),
        but_resources,
        conditions,
    )


def _can_apply(conditions: tuple[Condition, ...], named: tuple[str, ...]) -> bool:
    """Whether the keys of the conditions go with at least one of the actions: only listings have a prefix."""
    if not any(condition.key in _OF_LISTINGS for condition in conditions):
        return True
    return any(like(pattern.lower(), action) for pattern in named for action in _LISTINGS)


def _resource(text: str, bucket: str) -> str:
    if not bucket and text == "*":
        return text
    name = text.removeprefix("arn:aws:s3:::")
    if name == text or not name:
        raise _malformed("Policy has invalid resource")
    pattern = name.partition("/")[0]
    if bucket and not like(pattern, bucket):
        raise _malformed("Policy has invalid resource")
    return name


def _principals(value: Any) -> frozenset[str]:
    if value == "*":
        return frozenset({ANYBODY})
    kinds = {"AWS", "CanonicalUser", "Service", "Federated"}
    if value is None:
        raise _malformed("Missing required field Principal")
    if not isinstance(value, dict) or not value or value.keys() - kinds:
        raise _malformed("Invalid principal in policy")
    found = set()
    for kind, names in value.items():
        for name in _strings(names, "Principal"):
            found.add(_principal(kind, name))
    return frozenset(found)


def _principal(kind: str, name: str) -> str:
    """What a principal is called here. Raises MalformedPolicy where it cannot be one.

    A user is named by itself, by an ARN, or as its canonical id. Accounts other than ours, roles and services are
    nobody here: their names, which no user can have, match nobody.
    """
    if kind == "AWS" and name == "*":
        return ANYBODY
    if kind in ("Service", "Federated"):
        if not name or "*" in name:
            raise _malformed("Invalid principal in policy")
        return f"{kind.lower()} {name}"
    user = _USER_ARN.fullmatch(name)
    if user:
        return user[1]
    account = _ACCOUNT_ARN.fullmatch(name)
    if account:
        return ANY_USER if account[1] == ACCOUNT else f"account {account[1]}"
    if _OTHER_ARN.fullmatch(name):
        return f"arn {name}"
    if not _PLAIN.fullmatch(name):
        raise _malformed("Invalid principal in policy")
    return ANY_USER if name == ACCOUNT else name
