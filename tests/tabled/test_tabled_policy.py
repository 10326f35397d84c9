"""Policies without a server: what is refused, who is meant, what a condition says."""

import json
from typing import Any

import pytest

from haild.tabled.s3 import actions, policy
from haild.tabled.s3.errors import S3Error

ALLOW: dict[str, Any] = {
    "Effect": "Allow",
    "Principal": "*",
    "Action": "s3:GetObject",
    "Resource": "arn:aws:s3:::b/*",
}


def text(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def decide(statement: dict[str, Any], user: str | None = "bob", context: Any = None, key: str = "k") -> bool | None:
    return policy.parse(text({**ALLOW, **statement}), "b").decide(user, "s3:GetObject", f"b/{key}", context or {})


@pytest.mark.parametrize(
    "statement",
    [
        {"Effect": "Perhaps"},
        {"Sids": "x"},
        *({"Action": action} for action in ("s3:GetObjectt", "GetObject", "s3", "", "ec2:Run", "s3:Get Object", [])),
        {"Action": ["s3:GetObject", "s3:Nothing*"]},
        {"NotAction": "s3:GetObject"},
        # Only listings have a prefix.
        {"Condition": {"StringEqualsIfExists": {"s3:prefix": "a"}}},
        *({"Resource": arn} for arn in ("arn:aws:s3:::other/*", "b/*", "arn:aws:s3:::", "*")),
        *({"Principal": p} for p in ("bob", {}, {"Who": "bob"}, {"AWS": []}, {"AWS": "@"}, {"AWS": "b ob"}, None)),
        {"Principal": {"AWS": "arn:aws:iam::123456789012:user/*"}},
        {"Principal": {"AWS": "arn:aws:iam::123456789012:role/*"}},
        {"Principal": {"AWS": "nobody/*"}},
        {"Principal": {"Service": "*"}},
        *(
            {"Condition": condition}
            for condition in (
                [],
                {"stringequals": {"s3:prefix": "a"}},
                {"NullIfExists": {"s3:prefix": "true"}},
                {"ForSomeValues:StringEquals": {"s3:prefix": "a"}},
                {"StringEquals": "a"},
                {"StringEquals": {"s3:nothing": "a"}},
                {"StringEquals": {"s3:prefix": []}},
                {"StringEquals": {"s3:prefix": {}}},
                {"IpAddress": {"aws:SourceIp": "nowhere"}},
            )
        ),
    ],
)
def test_what_is_not_understood_is_refused(statement: dict[str, Any]) -> None:
    with pytest.raises(S3Error, match="MalformedPolicy"):
        policy.parse(text({**ALLOW, **statement}), "b")


def test_documents_that_are_none() -> None:
    wrong = ["", "[]", "{", "{}", '{"Statement": []}', '{"Version": "2020-01-01", "Statement": [{}]}']
    statement = {name: value for name, value in ALLOW.items() if name != "Principal"}
    not_principal = {**statement, "NotPrincipal": {"AWS": "bob"}}
    for document in [*wrong, text(statement), text(not_principal)]:
        with pytest.raises(S3Error, match="MalformedPolicy"):
            policy.parse(document, "b")


@pytest.mark.parametrize(
    ("principal", "anonymous", "bob"),
    [
        ("*", True, True),
        ({"AWS": "*"}, True, True),
        ({"AWS": ["alice", "bob"]}, None, True),
        ({"AWS": "arn:aws:iam::000000000000:user/bob"}, None, True),
        ({"AWS": "arn:aws:iam:::user/path/bob"}, None, True),
        ({"CanonicalUser": "bob"}, None, True),
        ({"AWS": "arn:aws:iam::000000000000:root"}, None, True),
        ({"AWS": "000000000000"}, None, True),
        ({"AWS": "arn:aws:iam::123456789012:root"}, None, None),
        ({"AWS": "arn:aws:iam::123456789012:role/bob"}, None, None),
        ({"Service": "bob"}, None, None),
        ({"AWS": "alice"}, None, None),
    ],
)
def test_who_is_meant(principal: Any, anonymous: bool | None, bob: bool | None) -> None:
    assert decide({"Principal": principal}, None) is anonymous
    assert decide({"Principal": principal}, "bob") is bob


def test_everybody_but_one() -> None:
    statement = {name: value for name, value in ALLOW.items() if name != "Principal"}
    deny = {**statement, "Effect": "Deny", "NotPrincipal": {"AWS": "bob"}}
    parsed = policy.parse(text(ALLOW, deny), "b")
    assert parsed.decide("bob", "s3:GetObject", "b/k", {}) is True
    assert parsed.decide("eve", "s3:GetObject", "b/k", {}) is False
    assert parsed.decide(None, "s3:GetObject", "b/k", {}) is False


@pytest.mark.parametrize(
    ("condition", "context", "holds"),
    [
        ({"StringEquals": {"s3:prefix": ["a", "b"]}}, {"s3:prefix": ["b"]}, True),
        ({"StringEquals": {"s3:prefix": "a"}}, {}, False),
        ({"StringEqualsIfExists": {"s3:prefix": "a"}}, {}, True),
        ({"StringEqualsIfExists": {"s3:prefix": "a"}}, {"s3:prefix": ["b"]}, False),
        ({"StringNotEquals": {"s3:prefix": "a"}}, {}, True),
        ({"StringNotEquals": {"s3:prefix": ["a", "b"]}}, {"s3:prefix": ["b"]}, False),
        ({"StringEqualsIgnoreCase": {"s3:prefix": "A"}}, {"s3:prefix": ["a"]}, True),
        ({"StringLike": {"aws:Referer": "http://*.a/*"}}, {"aws:referer": ["http://x.a/y"]}, True),
        ({"StringNotLike": {"aws:Referer": "http://*.a/*"}}, {"aws:referer": ["http://x.b/y"]}, True),
        ({"Null": {"s3:x-amz-server-side-encryption": "true"}}, {}, True),
        ({"Null": {"s3:x-amz-server-side-encryption": True}}, {"s3:x-amz-server-side-encryption": ["AES256"]}, False),
        ({"Null": {"s3:prefix": "false"}}, {"s3:prefix": [""]}, True),
        ({"Bool": {"aws:SecureTransport": "false"}}, {"aws:securetransport": ["false"]}, True),
        ({"Bool": {"aws:SecureTransport": False}}, {"aws:securetransport": ["true"]}, False),
        ({"IpAddress": {"aws:SourceIp": "10.1.0.0/16"}}, {"aws:sourceip": ["10.1.2.3"]}, True),
        ({"IpAddress": {"aws:SourceIp": "10.1.0.0/16"}}, {"aws:sourceip": ["::ffff:10.1.2.3"]}, True),
        ({"NotIpAddress": {"aws:SourceIp": ["10.1.0.0/16", "::1"]}}, {"aws:sourceip": ["::1"]}, False),
        ({"NumericLessThanEquals": {"s3:max-keys": 10}}, {"s3:max-keys": ["10"]}, True),
        ({"NumericGreaterThan": {"s3:max-keys": "10"}}, {"s3:max-keys": ["9"]}, False),
        ({"DateGreaterThan": {"aws:CurrentTime": "2020-01-01T00:00:00Z"}}, {"aws:currenttime": ["2021-01-01"]}, True),
        ({"DateLessThan": {"aws:EpochTime": "1500000000"}}, {"aws:epochtime": ["1600000000"]}, False),
        ({"ArnLike": {"aws:SourceArn": "arn:aws:sns:*"}}, {}, False),
        (
            {"StringEquals": {"s3:ExistingObjectTag/Security": "public"}},
            {"s3:existingobjecttag/Security": ["public"]},
            True,
        ),
        (
            {"StringEquals": {"s3:ExistingObjectTag/Security": "public"}},
            {"s3:existingobjecttag/security": ["public"]},
            False,
        ),
        (
            {"ForAllValues:StringLike": {"s3:RequestObjectTagKeys": ["a*"]}},
            {"s3:requestobjecttagkeys": ["a", "b"]},
            False,
        ),
        ({"ForAllValues:StringLike": {"s3:RequestObjectTagKeys": ["a*"]}}, {}, True),
        (
            {"ForAnyValue:StringLike": {"s3:RequestObjectTagKeys": ["a*"]}},
            {"s3:requestobjecttagkeys": ["a", "b"]},
            True,
        ),
        (
            {"StringEquals": {"s3:prefix": "home/${aws:username}"}},
            {"s3:prefix": ["home/bob"], "aws:username": ["bob"]},
            True,
        ),
        ({"StringEquals": {"s3:prefix": "${aws:username}"}}, {"s3:prefix": ["${aws:username}x"]}, False),
    ],
)
def test_conditions(condition: Any, context: Any, holds: bool) -> None:
    both = {"Action": ["s3:GetObject", "s3:ListBucket"], "Condition": condition}
    assert decide(both, context=context) is (True if holds else None)
    assert decide({"Effect": "Deny", **both}, context=context) is (False if holds else None)


def test_a_variable_in_a_resource_means_itself() -> None:
    own = {"Resource": "arn:aws:s3:::b/${aws:username}/*"}
    assert decide(own, context={"aws:username": ["bob"]}, key="bob/x") is True
    assert decide(own, context={"aws:username": ["bob"]}, key="eve/x") is None
    assert decide(own, context={"aws:username": ["*"]}, key="eve/x") is None
    assert decide(own, key="bob/x") is None


def test_a_policy_of_a_user_has_no_principal() -> None:
    statement = {"Effect": "Allow", "Action": "s3:*", "Resource": ["arn:aws:s3:::one/*", "arn:aws:s3:::two"]}
    parsed = policy.parse(text(statement), "")
    assert parsed.decide("bob", "s3:PutObject", "one/k", {}) is True
    assert parsed.decide("bob", "s3:PutObject", "two/k", {}) is None
    assert policy.parse(text({**statement, "Resource": "*"}), "").decide("bob", "s3:GetObject", "any/k", {}) is True
    with pytest.raises(S3Error, match="MalformedPolicy"):
        policy.parse(text({**statement, "Principal": "*"}), "")


def test_every_action_of_the_routes_is_known() -> None:
    from haild.tabled.http import routes

    used = {
        name for operation in routes.OPERATIONS.values() for name in (operation.action, operation.of_version) if name
    }
    assert {name for name in used if not actions.is_known(name)} == set()
