"""XML that clients send: the reader, and everything that takes what it has read."""

import contextlib
from collections.abc import Iterator

from haild.tabled.operations import deleteobjects as batch
from haild.tabled.operations import multipart
from haild.tabled.s3 import acl, cors, lifecycle
from haild.tabled.s3.errors import S3Error
from haild.wire import xmltree
from haild.wire.s3 import xml as s3xml

TOKENS = (
    b"<!DOCTYPE a [<!ENTITY b 'c'>]>",
    b"&b;",
    b"&#0;",
    b"<![CDATA[",
    b'<?xml version="1.0" encoding="UTF-16"?>',
    b"xmlns:xsi=",
    b'xsi:type="Group"',
    b"<Rule>",
    b"<Filter>",
    b"<Days>1</Days>",
    b"<PartNumber>1</PartNumber>",
    b"<AllowedOrigin>*</AllowedOrigin>",
    b"<Permission>READ</Permission>",
    b"99999999999999999999",
)
ROOTS = {
    "Delete": lambda root: list(batch.read_wanted(root)),
    "CompleteMultipartUpload": multipart.read_parts,
    "CORSConfiguration": cors.read,
    "LifecycleConfiguration": lifecycle.read,
}


def seeds() -> Iterator[bytes]:
    yield b"<Delete><Quiet>true</Quiet><Object><Key>a</Key><VersionId>null</VersionId></Object></Delete>"
    yield (
        b'<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Part><PartNumber>1</PartNumber>'
        b'<ETag>"9e107d9d372bb6826bd81d3542a419d6"</ETag><ChecksumCRC32>AAAAAA==</ChecksumCRC32></Part>'
        b"</CompleteMultipartUpload>"
    )
    yield (
        b"<CORSConfiguration><CORSRule><AllowedOrigin>http://*.example</AllowedOrigin><AllowedMethod>PUT"
        b"</AllowedMethod><AllowedHeader>*</AllowedHeader><MaxAgeSeconds>5</MaxAgeSeconds></CORSRule>"
        b"</CORSConfiguration>"
    )
    yield (
        b"<LifecycleConfiguration><Rule><ID>a</ID><Filter><And><Prefix>l/</Prefix><Tag><Key>a</Key><Value>b</Value>"
        b"</Tag></And></Filter><Status>Enabled</Status><Expiration><Days>3</Days></Expiration></Rule>"
        b"<Rule><Prefix/><Status>Disabled</Status><Expiration><Date>2030-01-01T00:00:00Z</Date></Expiration></Rule>"
        b"</LifecycleConfiguration>"
    )
    yield (
        b"<AccessControlPolicy><Owner><ID>alice</ID></Owner><AccessControlList><Grant><Grantee "
        b'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="Group"><URI>'
        b"http://acs.amazonaws.com/groups/global/AllUsers</URI></Grantee><Permission>READ</Permission></Grant>"
        b"</AccessControlList></AccessControlPolicy>"
    )


def fuzz(data: bytes) -> None:
    for root, read in ROOTS.items():
        with contextlib.suppress(S3Error, s3xml.MalformedXMLError):
            parsed = s3xml.parse(data, root)
            assert _depth(parsed) <= xmltree.MAXIMUM_DEPTH
            read(parsed)
    with contextlib.suppress(S3Error):
        listed = acl.from_document(data, "alice")
        assert acl.from_text(acl.to_text(listed)) == listed
        assert acl.from_document(acl.document(listed), "alice") == listed


def _depth(element: s3xml.Element) -> int:
    return 1 + max(map(_depth, element.children), default=0)
