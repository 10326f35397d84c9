"""Request payment and transfer acceleration: two settings of a bucket. Pure.

Source: S3 API reference, PutBucketRequestPayment and PutBucketAccelerateConfiguration. Nothing is charged here, but a
client that forgets to say that it pays is refused as S3 refuses it. Acceleration changes nothing.
"""

from __future__ import annotations

from typing import Final

from haild.tabled.s3.errors import S3Error
from haild.wire.s3 import xml as s3xml

SETTING: Final = "requestPayment"
REQUESTER: Final = "Requester"
HEADER: Final = "x-amz-request-payer"


def read_payment(root: s3xml.Element) -> str:
    """The payer in a RequestPaymentConfiguration. Raises MalformedXML."""
    payer = root.value("Payer").strip()
    if payer not in ("BucketOwner", REQUESTER):
        raise S3Error("MalformedXML", "The Payer is BucketOwner or Requester.")
    return payer


def payment_document(payer: str) -> bytes:
    """The RequestPaymentConfiguration."""
    return s3xml.document("RequestPaymentConfiguration", s3xml.element("Payer", payer))


def read_acceleration(root: s3xml.Element, bucket: str) -> str:
    """The status in an AccelerateConfiguration. Raises MalformedXML and InvalidRequest."""
    if "." in bucket:
        raise S3Error(
            "InvalidRequest", "S3 Transfer Acceleration is not supported for buckets with periods (.) in their names"
        )
    status = root.value("Status").strip()
    if status not in ("Enabled", "Suspended"):
        raise S3Error("MalformedXML", "The Status is Enabled or Suspended.")
    return status


def acceleration_document(status: str) -> bytes:
    """The AccelerateConfiguration."""
    return s3xml.document("AccelerateConfiguration", s3xml.element("Status", status))
