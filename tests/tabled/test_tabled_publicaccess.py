"""Block Public Access and Object Ownership without a server."""

import json
from typing import Any

import pytest

from haild.tabled.s3 import acl, publicaccess
from haild.tabled.s3.errors import S3Error
from haild.wire.s3 import xml as s3xml


def parse(text: str) -> s3xml.Element:
    return s3xml.parse(text.encode(), text[1:].partition(">")[0].rstrip("/"))


def test_the_switches_come_back() -> None:
    inner = "<BlockPublicAcls>true</BlockPublicAcls><RestrictPublicBuckets>false</RestrictPublicBuckets>"
    kept = publicaccess.read_block(parse(f"<PublicAccessBlockConfiguration>{inner}</PublicAccessBlockConfiguration>"))
    assert kept == "BlockPublicAcls"
    document = publicaccess.block_document(kept)
    assert publicaccess.read_block(s3xml.parse(document, "PublicAccessBlockConfiguration")) == kept
    assert b"<BlockPublicPolicy>false</BlockPublicPolicy>" in document


@pytest.mark.parametrize(
    "text",
    [
        "<PublicAccessBlockConfiguration><BlockPublicAcls>maybe</BlockPublicAcls></PublicAccessBlockConfiguration>",
        "<PublicAccessBlockConfiguration><BlockAll>true</BlockAll></PublicAccessBlockConfiguration>",
    ],
)
def test_a_block_that_is_none(text: str) -> None:
    with pytest.raises(S3Error, match="MalformedXML"):
        publicaccess.read_block(parse(text))


def test_ownership_comes_back() -> None:
    for name in publicaccess.OWNERSHIPS:
        root = s3xml.parse(publicaccess.ownership_document(name), "OwnershipControls")
        assert publicaccess.read_ownership(root) == name
    for text in ("<OwnershipControls/>", "<OwnershipControls><Rule/></OwnershipControls>"):
        with pytest.raises(S3Error, match="MalformedXML"):
            publicaccess.read_ownership(parse(text))


def test_which_lists_are_public() -> None:
    for name in ("public-read", "public-read-write", "authenticated-read"):
        listed = acl.canned(name, "alice")
        assert publicaccess.is_public_acl(listed)
        assert publicaccess.without_public(listed) == acl.canned("private", "alice")
    listed = acl.Acl("alice", (("bob", "READ"),))
    assert not publicaccess.is_public_acl(listed)
    assert publicaccess.without_public(listed) == listed


@pytest.mark.parametrize(
    ("change", "public"),
    [
        ({}, True),
        ({"Principal": {"AWS": ["*"]}}, True),
        ({"Principal": {"AWS": "arn:aws:iam::1:user/bob"}}, False),
        ({"Principal": {"Service": "logging.s3.amazonaws.com"}}, False),
        ({"Effect": "Deny"}, False),
        ({"Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/32"}}}, False),
        ({"Condition": {"IpAddress": {"aws:SourceIp": ["10.0.0.1", "0.0.0.0/0"]}}}, True),
        ({"Condition": {"NotIpAddress": {"aws:SourceIp": "10.0.0.0/32"}}}, True),
        ({"Condition": {"StringEquals": {"aws:SourceVpc": "vpc-1"}}}, False),
        ({"Condition": {"StringLike": {"aws:SourceVpc": "vpc-*"}}}, True),
        ({"Condition": {"StringEquals": {"s3:prefix": "a"}}}, True),
    ],
)
def test_which_policies_are_public(change: dict[str, Any], public: bool) -> None:
    statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*"}
    policy = {"Version": "2012-10-17", "Statement": {**statement, **change}}
    assert publicaccess.is_public_policy(json.dumps(policy)) is public
