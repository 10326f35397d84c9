"""What requests say about encryption, what is kept of it with an object, and what answers say (S3 API reference).

An object's encryption is a small mapping: empty (none), `algorithm` AES256 (SSE-S3), aws:kms or aws:kms:dsse (with
`key`, maybe `context` and `bucket-key`), or CUSTOMER (SSE-C, with `check`, which tells the right key).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from haild.tabled.encryption import keyring
from haild.tabled.s3.errors import S3Error
from haild.wire.s3 import xml as s3xml

HEADER: Final = "x-amz-server-side-encryption"
SOURCE: Final = "x-amz-copy-source-server-side-encryption"
SETTING: Final = "encryption"
CUSTOMER: Final = "CUSTOMER"
KMS: Final = ("aws:kms", "aws:kms:dsse")
LONGEST_KEY_ID: Final = 2048
"""Characters of a KMS key id, ARN or alias (KMS API reference, KeyId)."""

Encryption = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Wanted:
    """How something is to be stored: the mapping to keep, and the customer's key where that is needed."""

    encryption: Encryption
    customer: bytes | None = None


NONE: Final = Wanted({})


def default_key(region: str) -> str:
    """The KMS key of requests that name none."""
    return f"arn:aws:kms:{region}:000000000000:alias/aws/s3"


def customer_key(headers: Mapping[str, str], prefix: str = HEADER) -> bytes | None:
    """The customer's key that a request carries; None without. Raises InvalidArgument and what else S3 does.

    `prefix` is SOURCE for the key of a copy's source.
    """
    algorithm, key, digest = (headers.get(f"{prefix}-customer-{name}") for name in ("algorithm", "key", "key-md5"))
    if algorithm is None and key is None and digest is None:
        return None
    if algorithm is None:
        raise _customer_error("must provide a valid encryption algorithm.", prefix, "algorithm")
    if algorithm != "AES256":
        raise S3Error(
            "InvalidEncryptionAlgorithmError",
            "The Encryption request you specified is not valid. Supported value: AES256.",
            fields={"ArgumentName": f"{prefix}-customer-algorithm", "ArgumentValue": algorithm},
        )
    if not key:
        raise _customer_error("must provide an appropriate secret key.", prefix, "key")
    if not digest:
        raise _customer_error("must provide the client calculated MD5 of the secret key.", prefix, "key-MD5")
    try:
        content = base64.b64decode(key, validate=True)
    except (binascii.Error, ValueError):
        content = b""
    if len(content) != 32:
        raise S3Error(
            "InvalidArgument",
            "The secret key was invalid for the specified algorithm.",
            fields={"ArgumentName": f"{prefix}-customer-key", "ArgumentValue": "null"},
        )
    if base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode() != digest:
        raise S3Error(
            "InvalidArgument",
            "The calculated MD5 hash of the key did not match the hash that was provided.",
            fields={"ArgumentName": f"{prefix}-customer-key-MD5", "ArgumentValue": digest},
        )
    return content


def _customer_error(text: str, prefix: str, name: str) -> S3Error:
    return S3Error(
        "InvalidArgument",
        f"Requests specifying Server Side Encryption with Customer provided keys {text}",
        fields={"ArgumentName": f"{prefix}-customer-{name}", "ArgumentValue": "null"},
    )


def wanted(headers: Mapping[str, str], default: Encryption, region: str) -> Wanted:
    """How a request wants its object stored; `default` is the bucket's. Raises S3Error."""
    customer = customer_key(headers)
    algorithm = headers.get(HEADER)
    if customer is not None:
        if algorithm is not None:
            raise _invalid(
                "Server Side Encryption with Customer provided key is incompatible with the encryption method "
                "specified",
                HEADER,
                algorithm,
            )
        return Wanted({"algorithm": CUSTOMER, "check": keyring.customer_check(customer)}, customer)
    if algorithm is not None and algorithm not in ("AES256", *KMS):
        raise _invalid("The encryption method specified is not supported", HEADER, algorithm)
    key, context = headers.get(f"{HEADER}-aws-kms-key-id"), headers.get(f"{HEADER}-context")
    bucket_key = headers.get(f"{HEADER}-bucket-key-enabled")
    for name, value in (("aws-kms-key-id", key), ("context", context)):
        if value is not None and algorithm not in KMS:
            raise _invalid(
                f"Server Side Encryption with AWS KMS managed key requires HTTP header {HEADER} : aws:kms",
                f"{HEADER}-{name}",
                value,
            )
    if algorithm is None:
        return Wanted(_with_bucket_key(_complete(default, region), bucket_key)) if default else NONE
    if algorithm == "AES256":
        return Wanted({"algorithm": algorithm})
    named = key or default.get("key") or default_key(region)
    kept = {"algorithm": algorithm, "key": check_key_id(named)}
    if context is not None:
        kept["context"] = _check_context(context)
    return Wanted(_with_bucket_key(kept, bucket_key or default.get("bucket-key")))


def _complete(default: Encryption, region: str) -> dict[str, str]:
    """A bucket's default with the key that it leaves open."""
    return {"key": default_key(region), **default} if default["algorithm"] in KMS else dict(default)


def _with_bucket_key(kept: dict[str, str], value: str | None) -> dict[str, str]:
    if value is None or kept.get("algorithm") != "aws:kms":
        return kept
    if value.lower() not in ("true", "false"):
        raise _invalid("The value is neither true nor false", f"{HEADER}-bucket-key-enabled", value)
    kept.pop("bucket-key", None)
    return {**kept, "bucket-key": "true"} if value.lower() == "true" else kept


def check_key_id(key: str) -> str:
    """The id, if it can be one. Raises KMS.NotFoundException: any other names a key of this server's own."""
    if not key or len(key) > LONGEST_KEY_ID or not key.isascii() or not key.isprintable() or " " in key:
        raise S3Error("KMS.NotFoundException", f"Invalid keyId '{key}'")
    return key


def _check_context(text: str) -> str:
    try:
        value = json.loads(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError, RecursionError):
        value = None
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        raise _invalid("The header must be a base64-encoded JSON object of texts.", f"{HEADER}-context", text)
    return text


def _invalid(text: str, name: str, value: str) -> S3Error:
    return S3Error("InvalidArgument", text, fields={"ArgumentName": name, "ArgumentValue": value})


def refuse_in_read(headers: Mapping[str, str]) -> None:
    """Raise InvalidArgument where a GET or HEAD asks for what only a write can."""
    for name in (HEADER, f"{HEADER}-aws-kms-key-id", f"{HEADER}-context"):
        if name in headers:
            raise _invalid(f"{name} header is not supported for this operation.", name, headers[name])


def reading_key(encryption: Encryption, customer: bytes | None) -> bytes | None:
    """The customer's key, if it is the one to read this with. Raises InvalidRequest."""
    if encryption.get("algorithm") != CUSTOMER:
        if customer is not None:
            raise S3Error("InvalidRequest", "The encryption parameters are not applicable to this object.")
        return None
    if customer is None:
        raise S3Error(
            "InvalidRequest",
            "The object was stored using a form of Server Side Encryption. "
            "The correct parameters must be provided to retrieve the object.",
        )
    if not keyring.is_customer(customer, encryption.get("check", "")):
        raise S3Error("InvalidRequest", "The provided encryption parameters did not match the ones used originally.")
    return customer


def part_key(encryption: Encryption, customer: bytes | None) -> bytes | None:
    """The customer's key of a part, if it is the upload's. Raises InvalidRequest."""
    if encryption.get("algorithm") == CUSTOMER and customer is None:
        raise S3Error(
            "InvalidRequest",
            "The multipart upload initiate requested encryption. "
            "Subsequent part requests must include the appropriate encryption parameters.",
        )
    if encryption.get("algorithm") != CUSTOMER and customer is not None:
        raise S3Error(
            "InvalidRequest",
            "The multipart upload initiate did not request encryption. "
            "Please resend the request without sending encryption parameters.",
        )
    return reading_key(encryption, customer)


def shares(source: Encryption, target: Encryption) -> bool:
    """Whether a copy may use the same bodies: both plain, or both under the same key of this server's."""
    if CUSTOMER in (source.get("algorithm"), target.get("algorithm")):
        return False
    return bool(source) == bool(target) and source.get("key") == target.get("key")


def answer_headers(encryption: Encryption, customer: bytes | None = None) -> dict[str, str]:
    """The headers that tell of an object's encryption."""
    algorithm = encryption.get("algorithm")
    if algorithm is None:
        return {}
    if algorithm == CUSTOMER:
        digest = hashlib.md5(customer or b"", usedforsecurity=False).digest()
        return {
            f"{HEADER}-customer-algorithm": "AES256",
            f"{HEADER}-customer-key-MD5": base64.b64encode(digest).decode(),
        }
    headers = {HEADER: algorithm}
    if "key" in encryption:
        headers[f"{HEADER}-aws-kms-key-id"] = encryption["key"]
    if encryption.get("bucket-key"):
        headers[f"{HEADER}-bucket-key-enabled"] = "true"
    return headers


def read_document(root: s3xml.Element) -> dict[str, str]:
    """The default of a bucket from a ServerSideEncryptionConfiguration. Raises MalformedXML and InvalidArgument."""
    rules = list(root.all("Rule"))
    if len(rules) != 1:
        raise S3Error("MalformedXML", "A ServerSideEncryptionConfiguration has one Rule.")
    bucket_key = rules[0].value("BucketKeyEnabled").strip().lower()
    if bucket_key not in ("", "true", "false"):
        raise S3Error("MalformedXML", "BucketKeyEnabled is true or false.")
    applied = rules[0].first("ApplyServerSideEncryptionByDefault")
    algorithm = "AES256" if applied is None else applied.value("SSEAlgorithm").strip()
    if algorithm not in ("AES256", *KMS):
        raise S3Error("MalformedXML", "The SSEAlgorithm is AES256, aws:kms or aws:kms:dsse.")
    kept = {"algorithm": algorithm}
    key = "" if applied is None else applied.value("KMSMasterKeyID").strip()
    if key and algorithm not in KMS:
        raise S3Error(
            "InvalidArgument",
            "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms or aws:kms:dsse",
            fields={"ArgumentName": "ApplyServerSideEncryptionByDefault"},
        )
    if key:
        kept["key"] = check_key_id(key)
    if bucket_key == "true":
        kept["bucket-key"] = "true"
    return kept


def document(default: Encryption) -> bytes:
    """The ServerSideEncryptionConfiguration of a bucket's default."""
    applied = s3xml.element("SSEAlgorithm", default["algorithm"])
    if "key" in default:
        applied += s3xml.element("KMSMasterKeyID", default["key"])
    return s3xml.document(
        "ServerSideEncryptionConfiguration",
        f"<Rule><ApplyServerSideEncryptionByDefault>{applied}</ApplyServerSideEncryptionByDefault>"
        f"{s3xml.element('BucketKeyEnabled', bool(default.get('bucket-key')))}</Rule>",
    )
