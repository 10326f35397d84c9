"""POST bucket: uploads from a browser's form (S3 API reference, "POST Object").

A form does not tell the size of its file in advance and storage nodes want to know it, so the file is spooled to the
data volume first (bodies/spool.py).
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import quote, urlencode, urlsplit

from haild.http.form import Event as FormEvent
from haild.http.form import FormEnd, FormError, FormParser, PartBegin, PartEnd
from haild.tabled.bodies.spool import NoRoomError, SpoolFile
from haild.tabled.encryption.spec import Wanted
from haild.tabled.metadata.port import Check
from haild.tabled.metadata.records import ObjectRecord
from haild.tabled.operations import foreign, locking, sealing, unsupported
from haild.tabled.operations import object as objects
from haild.tabled.operations.answer import Answer, quoted, xml
from haild.tabled.operations.call import Call, access_denied
from haild.tabled.s3 import addressing, checksums, postpolicy
from haild.tabled.s3 import tags as s3tags
from haild.tabled.s3.arguments import read_document
from haild.tabled.s3.authentication import Identity
from haild.tabled.s3.errors import S3Error
from haild.tabled.s3.headers import Headers
from haild.tabled.s3.upload import MAXIMUM_OBJECT, SILENCE, Upload
from haild.wire.s3 import xml as s3xml

MOST_FIELDS: Final = 100
FIELD_LIMIT: Final = 20 << 10
BLOCK: Final = 1 << 18
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
"""What no header may have: all other fields become headers, or are compared with words."""
_ANY_TEXT: Final = frozenset({"key", "policy", "tagging"})
_AS_SENT: Final = frozenset({"policy", "signature", "x-amz-signature", "x-amz-credential", "awsaccesskeyid"})
_NOBODY: Final = secrets.token_hex(20)


class FormReader:
    """The body of a request as a form: its fields up to the file, and then the file."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._events: deque[FormEvent] = deque()
        self.fields: dict[str, str] = {}
        """By lower-case name."""
        self.filename = ""
        """The file's name, without the directories that some browsers send."""
        try:
            self._parser = FormParser(call.headers.get("Content-Type", ""))
        except FormError:
            raise _malformed() from None

    async def _next(self) -> FormEvent:
        """What comes next in the form. Raises MalformedPOSTRequest."""
        try:
            while not self._events:
                async with asyncio.timeout(SILENCE):
                    data = await self._call.source.read(BLOCK)
                if not data:
                    raise _malformed()
                self._events.extend(self._parser.feed(bytes(data)))
        except (FormError, TimeoutError):
            raise _malformed() from None
        return self._events.popleft()

    async def read_fields(self) -> None:
        """Read up to the file. Raises S3Error."""
        part, value = PartBegin("", None, None), b""
        while True:
            match await self._next():
                case PartBegin() as part:
                    value = b""
                    if part.name.lower() == "file":
                        self.filename = (part.filename or "").replace("\\", "/").rpartition("/")[2]
                        return
                    if len(self.fields) >= MOST_FIELDS:
                        raise _malformed()
                case bytes() as piece:
                    value += piece
                    if len(value) > FIELD_LIMIT:
                        raise S3Error("MaxMessageLengthExceeded", "A field of the form is too long.")
                case PartEnd():
                    self.fields[part.name.lower()] = value.decode("utf-8", "replace")
                case FormEnd():
                    raise S3Error("InvalidArgument", "POST requires exactly one file upload per request.")

    async def read_file(self, spooled: SpoolFile, most: int) -> None:
        """Write the file to `spooled`; what follows it in the form is ignored. Raises S3Error."""
        while not isinstance(event := await self._next(), PartEnd):
            if isinstance(event, bytes):
                if spooled.written + len(event) > most:
                    raise S3Error("EntityTooLarge", "Your proposed upload exceeds the maximum allowed size.")
                await spooled.write(event)


def _malformed() -> S3Error:
    return S3Error("MalformedPOSTRequest", "The body of your POST request is not well-formed multipart/form-data.")


async def post_object(call: Call) -> Answer:
    """Take a form's file as an object. Policy and signature are checked before the file is received."""
    form = FormReader(call)
    call.before_reading()
    await form.read_fields()
    fields = form.fields
    for name in fields.keys() - _AS_SENT:  # before the policy is checked: what it allows is what results
        fields[name] = fields[name].replace("${filename}", form.filename)
    identity, least, most = await _identify(call, fields)
    if identity.user is None:
        await foreign.refuse(call)
    if "key" not in fields:
        raise S3Error("InvalidArgument", "Bucket POST must contain a field named 'key'.")
    key = fields["key"]
    addressing.check_key(key)
    headers = _headers(call, fields)  # a policy sees the fields as the headers that they stand for
    call = replace(call, identity=identity, address=replace(call.address, key=key), headers=headers)
    if not key or not call.may("s3:PutObject", "WRITE", key):
        raise access_denied()
    given = await _understand(call, fields)
    try:
        async with call.services.spool.file(identity.user or "") as spooled:
            await form.read_file(spooled, most)
            if spooled.written < least:
                raise S3Error("EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size")
            spooled.rewind()
            record = await _store(call, given, spooled)
    except NoRoomError:
        raise S3Error("SlowDown", "There is no room for this form at the moment; please retry.") from None
    return _answer(call, fields, record)


async def _identify(call: Call, fields: Mapping[str, str]) -> tuple[Identity, int, int]:
    """Who sends the form, by its policy and signature, and the least and the most bytes of its file.

    Raises S3Error.
    """
    user = postpolicy.claimed_key(fields)
    if "x-amz-security-token" in fields:
        raise S3Error("InvalidToken", "There are no temporary credentials here.")
    if not user:
        return Identity(None), 0, MAXIMUM_OBJECT
    password = await call.metadata.password(user)
    if not postpolicy.verify(fields, _NOBODY if password is None else password) or password is None:
        raise S3Error("SignatureDoesNotMatch", "The signature of the policy is not right.")
    policy = postpolicy.parse(fields["policy"])
    policy.check({**fields, "bucket": call.address.bucket}, call.now)
    return Identity(user), policy.least, MAXIMUM_OBJECT if policy.most is None else min(policy.most, MAXIMUM_OBJECT)


def _headers(call: Call, fields: Mapping[str, str]) -> Headers:
    """The request's headers with the form's fields in their place."""
    named = {("x-amz-acl" if name == "acl" else name): value for name, value in fields.items()}
    kept = [(name, value) for name, value in call.headers.items() if name.lower() not in named]
    return Headers([*kept, *named.items()])


@dataclass(frozen=True, slots=True)
class _Given:
    """What the fields say of the object."""

    attributes: objects.Attributes
    wanted: Wanted
    lock: Mapping[str, str]
    tags: tuple[tuple[str, str], ...]
    promised: dict[str, str]
    check: Check | None


async def _understand(call: Call, fields: Mapping[str, str]) -> _Given:
    """What the fields say of the object. Raises S3Error."""
    for name, value in fields.items():
        if name not in _ANY_TEXT and _CONTROL.search(value):
            raise S3Error("InvalidArgument", f"The field {name!r} has control characters.")
    headers = {("x-amz-acl" if name == "acl" else name): value for name, value in fields.items()}
    unsupported.refuse(fields)
    given = await objects.attributes(call, headers)
    wanted = await sealing.wanted(call, headers)
    lock = await locking.wanted(call, headers)
    tags = s3tags.read(read_document(fields["tagging"].encode(), "Tagging")) if "tagging" in fields else given.tags
    promised = {name: value for name, value in headers.items() if name.startswith(checksums.HEADER_PREFIX)}
    algorithm = checksums.algorithm_of(headers)
    if algorithm and checksums.HEADER_PREFIX + algorithm not in promised:
        raise S3Error("InvalidRequest", f"The form names {algorithm} and has no x-amz-checksum-{algorithm}.")
    if "content-md5" in fields:
        promised["Content-MD5"] = fields["content-md5"]
    return _Given(given, wanted, lock, tags, promised, await objects.check_early(call))


async def _store(call: Call, given: _Given, spooled: SpoolFile) -> ObjectRecord:
    size = spooled.written
    upload = Upload(
        {**given.promised, "Content-Length": str(size)},
        Identity(None),
        spooled,
        lambda: None,
        call.block,
        default=checksums.DEFAULT,
    )
    stored = await sealing.store(call, upload.length, upload.pieces(), given.wanted)
    record = ObjectRecord(
        bucket=call.address.bucket,
        key=call.key,
        size=size,
        etag=upload.md5,
        modified=call.services.clock(),
        acl=given.attributes.acl,
        headers=given.attributes.headers,
        segments=sealing.whole(stored),
        tags=given.tags,
        encryption=given.wanted.encryption,
        lock=given.lock,
        checksum=upload.checksums | {"type": "FULL_OBJECT"},
    )
    version = await objects.commit(call, record, stored, given.check, event="ObjectCreated:Post")
    return replace(record, version=version)


def _answer(call: Call, fields: Mapping[str, str], record: ObjectRecord) -> Answer:
    location = f"http://{call.headers.get('Host', '')}/{quote(f'{record.bucket}/{record.key}')}"
    headers = checksums.headers_of(record.checksum)
    headers |= {"ETag": quoted(record.etag), "Location": location, **objects.written_version(record.version)}
    redirect = fields.get("success_action_redirect") or fields.get("redirect") or ""
    if redirect and urlsplit(redirect).scheme in ("http", "https") and not any(ord(c) < 33 for c in redirect):
        more = urlencode({"bucket": record.bucket, "key": record.key, "etag": quoted(record.etag)})
        headers["Location"] = f"{redirect}{'&' if '?' in redirect else '?'}{more}"
        return Answer(303, headers)
    if fields.get("success_action_status") == "201":
        answer = xml(
            s3xml.bare_document(
                "PostResponse",
                s3xml.element("Location", location),
                s3xml.element("Bucket", record.bucket),
                s3xml.element("Key", record.key),
                s3xml.element("ETag", quoted(record.etag)),
            ),
            201,
        )
        answer.headers.update(headers)
        return answer
    return Answer(200 if fields.get("success_action_status") == "200" else 204, headers)
