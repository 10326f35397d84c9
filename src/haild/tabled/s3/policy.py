"""Bucket policies: the document, and what it decides (S3 user guide, "Bucket policies"). Pure.

What is not understood is refused when the policy is set, never ignored: a condition that is not evaluated would
let somebody in, or lock somebody out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from haild.tabled.s3.errors import S3Error
from haild.tabled.s3.wildcard import like

SETTING = "policy"
LIMIT = 20 << 10
"""Bytes of a policy document."""

_CONDITION_KEYS = frozenset(("s3:prefix", "s3:delimiter", "s3:x-amz-acl", "s3:versionid", "aws:username"))
_OPERATORS = {
    "StringEquals": (False, False),
    "StringNotEquals": (False, True),
    "StringLike": (True, False),
    "StringNotLike": (True, True),
}
"""Whether wildcards count, and whether the outcome is negated."""


@dataclass(frozen=True)
class _Condition:
    key: str
    patterns: tuple[str, ...]
    wild: bool
    negated: bool

    def holds(self, context: Mapping[str, str]) -> bool:
        value = context.get(self.key)
        if value is None:
            return self.negated
        found = any(like(p, value) if self.wild else p == value for p in self.patterns)
        return found is not self.negated


@dataclass(frozen=True)
class _Statement:
    allow: bool
    users: tuple[str, ...]
    actions: tuple[str, ...]
    but_actions: bool
    resources: tuple[str, ...]
    but_resources: bool
    conditions: tuple[_Condition, ...]

    def applies(self, user: str | None, action: str, resource: str, context: Mapping[str, str]) -> bool:
        if "*" not in self.users and user not in self.users:
            return False
        if any(like(p.lower(), action.lower()) for p in self.actions) is self.but_actions:
            return False
        if any(like(p, resource) for p in self.resources) is self.but_resources:
            return False
        return all(condition.holds(context) for condition in self.conditions)


@dataclass(frozen=True)
class Policy:
    """A policy that has been read."""

    statements: tuple[_Statement, ...]

    def decide(self, user: str | None, action: str, resource: str, context: Mapping[str, str]) -> bool | None:
        """True if it allows, False if it denies, None if it says nothing. `resource` is `bucket` or `bucket/key`."""
        verdict = None
        for statement in self.statements:
            if statement.applies(user, action, resource, context):
                if not statement.allow:
                    return False
                verdict = True
        return verdict


@lru_cache(maxsize=64)
def parse(text: str, bucket: str) -> Policy:
    """Read a policy for a bucket. Raises MalformedPolicy, and NotImplemented for what is not evaluated here."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise _malformed("Policies must be valid JSON") from None
    if not isinstance(document, dict) or document.keys() - {"Version", "Id", "Statement"}:
        raise _malformed("Unknown field in the policy")
    statements = document.get("Statement")
    if isinstance(statements, dict):
        statements = [statements]
    if not isinstance(statements, list) or not statements:
        raise _malformed("Missing required field Statement")
    return Policy(tuple(_statement(statement, bucket) for statement in statements))


def _malformed(text: str) -> S3Error:
    return S3Error("MalformedPolicy", text)


def _strings(value: Any, what: str) -> tuple[str, ...]:
    values = value if isinstance(value, list) else [value]
    if not values or not all(isinstance(item, str) for item in values):
        raise _malformed(f"{what} must be a text or a list of texts")
    return tuple(values)


_FIELDS = frozenset(
    ("Sid", "Effect", "Principal", "Action", "NotAction", "Resource", "NotResource", "Condition", "NotPrincipal")
)


def _statement(value: Any, bucket: str) -> _Statement:
    if not isinstance(value, dict) or value.keys() - _FIELDS:
        raise _malformed("Unknown field in a statement")
    if "NotPrincipal" in value:
        raise S3Error("NotImplemented", "NotPrincipal is not implemented.")
    if value.get("Effect") not in ("Allow", "Deny"):
        raise _malformed("Effect must be Allow or Deny")
    but_actions, but_resources = "NotAction" in value, "NotResource" in value
    actions = _strings(value.get("NotAction" if but_actions else "Action"), "Action")
    resources = tuple(
        _resource(text, bucket)
        for text in _strings(value.get("NotResource" if but_resources else "Resource"), "Resource")
    )
    return _Statement(
        value["Effect"] == "Allow",
        _principals(value.get("Principal")),
        actions,
        but_actions,
        resources,
        but_resources,
        tuple(_conditions(value.get("Condition", {}))),
    )


def _resource(text: str, bucket: str) -> str:
    name = text.removeprefix("arn:aws:s3:::")
    if name == text or name.partition("/")[0] not in (bucket, "*"):
        raise _malformed("Policy has invalid resource")
    return name


def _principals(value: Any) -> tuple[str, ...]:
    if value == "*":
        return ("*",)
    if not isinstance(value, dict) or value.keys() != {"AWS"}:
        raise _malformed("Invalid principal in policy")
    # A user is named by itself or at the end of an ARN.
    return tuple(name.rpartition("/")[2] for name in _strings(value["AWS"], "Principal"))


def _conditions(value: Any) -> list[_Condition]:
    if not isinstance(value, dict):
        raise _malformed("Invalid condition")
    found = []
    for operator, keys in value.items():
        if operator not in _OPERATORS or not isinstance(keys, dict):
            raise S3Error("NotImplemented", f"The condition {operator} is not implemented.")
        for key, values in keys.items():
            if key.lower() not in _CONDITION_KEYS:
                raise S3Error("NotImplemented", f"The condition key {key} is not implemented.")
            found.append(_Condition(key.lower(), _strings(values, key), *_OPERATORS[operator]))
    return found
