"""Bodies of CLD's messages, directories, and what hailbox adds (`haild.wire.cld`)."""

from collections.abc import Iterator

from haild.wire.cld import extension as cld_extension
from haild.wire.cld import messages as cld
from haild.wire.cld import xdr

BODIES = (
    cld.Generic,
    cld.HandleRequest,
    cld.OpenRequest,
    cld.OpenReply,
    cld.GetReply,
    cld.PutRequest,
    cld.PathRequest,
    cld.LockRequest,
    cld.EventBody,
)


def seeds() -> Iterator[bytes]:
    yield cld.Generic(1, 2).encode()
    yield cld.HandleRequest(2).encode()
    yield cld.OpenRequest(0x12, 1, b"/a/b").encode()
    yield cld.OpenReply(0, 1, 2).encode()
    yield cld.GetReply(0, 1, 2, 3, 4, 5, 1, b"/a", b"data").encode()
    yield cld.PutRequest(2, b"data").encode()
    yield cld.PathRequest(b"/a/b").encode()
    yield cld.LockRequest(2, 1).encode()
    yield cld.EventBody(2, 3).encode()
    yield cld.directory_record(b"child") + cld.directory_record(b"other child")
    generic = cld.Generic(0, 1).encode()
    yield generic + cld_extension.Grant(10_000).encode()
    yield generic + cld_extension.Resumed((cld_extension.Owned(2, True), cld_extension.Owned(3, False))).encode()
    yield cld_extension.Lifeline(4711).encode()
    yield cld_extension.make_sid(10, b"1234")


def fuzz(data: bytes) -> None:
    for body in BODIES:
        try:
            decoded = body.decode(data)
        except xdr.XdrError:
            continue
        encoded = decoded.encode()
        assert len(encoded) <= len(data)
        assert body.decode(encoded) == decoded
    try:
        names = cld.directory_names(data)
    except xdr.XdrError:
        pass
    else:
        assert cld.directory_names(b"".join(map(cld.directory_record, names))) == names
    _extension(data)


def _extension(data: bytes) -> None:
    generic = data[:12]
    grant = cld_extension.Grant.decode(data)
    assert grant is None or cld_extension.Grant.decode(generic + grant.encode()) == grant
    lifeline = cld_extension.Lifeline.decode(data)
    assert lifeline is None or cld_extension.Lifeline.decode(lifeline.encode()) == lifeline
    try:
        resumed = cld_extension.Resumed.decode(data)
    except xdr.XdrError:
        pass
    else:
        assert cld_extension.Resumed.decode(generic + resumed.encode()) == resumed
    sid = data[:8].ljust(8)
    lease = cld_extension.lease_of(sid)
    assert lease is None or cld_extension.make_sid(lease, sid[4:]) == sid
