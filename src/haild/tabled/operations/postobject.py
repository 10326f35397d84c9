"""POST bucket: uploads from a browser's form (S3 API reference, "POST Object").

A form does not tell the size of its file in advance and storage nodes want to know it, so the file is spooled to
an unlinked temporary file first; memory stays bounded.
"""

from __future__ import annotations

import asyncio
import secrets
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from typing import IO
from urllib.parse import quote, urlencode, urlsplit

from haild.http.form import Event as FormEvent
from haild.http.form import FormEnd, FormError, FormParser, PartBegin, PartEnd
from haild.tabled.metadata.records import ObjectRecord
from haild.tabled.operations import locking, sealing, unsupported
from haild.tabled.operations import object as objects
from haild.tabled.operations.answer import Answer, quoted, xml
from haild.tabled.operations.call import Call, access_denied
from haild.tabled.s3 import addressing, postpolicy
from haild.tabled.s3 import tags as s3tags
from haild.tabled.s3.arguments import read_document
from haild.tabled.s3.authentication import Identity
from haild.tabled.s3.errors import S3Error
from haild.tabled.s3.upload import MAXIMUM_OBJECT, SILENCE, Upload
from haild.wire.s3 import xml as s3xml

MOST_FIELDS = 100
FIELD_LIMIT = 20 << 10
BLOCK = 1 << 18
_NOBODY = secrets.token_hex(20)


class _Spool:
    """The file of a form, as a source of body bytes."""

    ready = False

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    async def read(self, limit: int, /) -> bytes:
        return await asyncio.to_thread(self._file.read, limit)


async def post_object(call: Call) -> Answer:
    """Take a form's file as an object."""
    if not call.headers.get("Content-Type", "").lower().startswith("multipart/form-data"):
        raise S3Error("MalformedPOSTRequest", "The body of your POST request is not well-formed multipart/form-data.")
    call.before_reading()
    with tempfile.TemporaryFile() as file:
        fields, size, name = await _read_form(call, file)
        identity = await _identify(call, fields, size)
        if "key" not in fields:
            raise S3Error("InvalidArgument", "Bucket POST must contain a field named 'key'.")
        key = fields["key"].replace("${filename}", name)
        addressing.check_key(key)
        call = replace(call, identity=identity, address=replace(call.address, key=key))
        if not key or not call.may("s3:PutObject", "WRITE", key):
            raise access_denied()
        file.seek(0)
        record = await _store(call, fields, _Spool(file), size)
    return _answer(call, fields, record)


async def _read_form(call: Call, file: IO[bytes]) -> tuple[dict[str, str], int, str]:
    """The fields before the file (lower-case names), the file's size and its name."""
    try:
        parser, form = FormParser(call.headers.get("Content-Type", "")), _Form(file)
        while not form.complete:
            async with asyncio.timeout(SILENCE):
                data = await call.source.read(BLOCK)
            if not data:
                raise FormError("it ends early")
            for event in parser.feed(bytes(data)):
                await form.take(event)
    except (FormError, TimeoutError):
        text = "The body of your POST request is not well-formed multipart/form-data."
        raise S3Error("MalformedPOSTRequest", text) from None
    return form.fields, form.size, form.filename


class _Form:
    """The fields of a form, up to its file, which goes to a file of ours; what follows that is ignored."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._part = PartBegin("", None, None)
        self._value = b""
        self.fields: dict[str, str] = {}
        self.size = 0
        self.complete = False

    @property
    def _in_file(self) -> bool:
        return self._part.name.lower() == "file"

    @property
    def filename(self) -> str:
        """The file's name, without the directories that some browsers send."""
        return (self._part.filename or "").replace("\\", "/").rpartition("/")[2]

    async def take(self, event: FormEvent) -> None:
        """Take what the parser has found. Raises FormError and S3Error."""
        if self.complete:
            return
        match event:
            case PartBegin():
                self._part, self._value = event, b""
                if len(self.fields) >= MOST_FIELDS:
                    raise FormError("there are too many fields")
            case bytes() if self._in_file:
                self.size += len(event)
                if self.size > MAXIMUM_OBJECT:
                    raise S3Error("EntityTooLarge", "Your proposed upload exceeds the maximum allowed size.")
                await asyncio.to_thread(self._file.write, event)
            case bytes():
                self._value += event
                if len(self._value) > FIELD_LIMIT:
                    raise S3Error("MaxMessageLengthExceeded", "A field of the form is too long.")
            case PartEnd() if self._in_file:
                self.complete = True
            case PartEnd():
                self.fields[self._part.name.lower()] = self._value.decode("utf-8", "replace")
            case FormEnd():
                raise S3Error("InvalidArgument", "POST requires exactly one file upload per request.")


async def _identify(call: Call, fields: Mapping[str, str], size: int) -> Identity:
    """Who sends the form, by its policy and signature. Raises S3Error."""
    user = postpolicy.claimed_key(fields)
    if "x-amz-security-token" in fields:
        raise S3Error("InvalidToken", "There are no temporary credentials here.")
    if not user:
        return Identity(None)
    password = await call.metadata.password(user)
    if not postpolicy.verify(fields, _NOBODY if password is None else password) or password is None:
        raise S3Error("SignatureDoesNotMatch", "The signature of the policy is not right.")
    if "policy" not in fields:
        raise S3Error("AccessDenied", "A signed form needs a policy.")
    policy = postpolicy.parse(fields["policy"])
    policy.check({**fields, "bucket": call.address.bucket}, call.now)
    if size < policy.least:
        raise S3Error("EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size")
    if policy.most is not None and size > policy.most:
        raise S3Error("EntityTooLarge", "Your proposed upload exceeds the maximum allowed size.")
    return Identity(user)


async def _store(call: Call, fields: Mapping[str, str], source: _Spool, size: int) -> ObjectRecord:
    headers = {("x-amz-acl" if name == "acl" else name): value for name, value in fields.items()}
    unsupported.refuse(fields)
    given = objects.attributes(call, headers)
    wanted = await sealing.wanted(call, headers)
    lock = await locking.wanted(call, headers)
    tags = s3tags.read(read_document(fields["tagging"].encode(), "Tagging")) if "tagging" in fields else given.tags
    promised = {name: v for name, v in headers.items() if name.startswith("x-amz-checksum-")}
    upload = Upload({**promised, "Content-Length": str(size)}, Identity(None), source, _nothing, call.block)
    stored = await objects.store_body(call, upload, wanted)
    record = ObjectRecord(
        bucket=call.address.bucket,
        key=call.key,
        size=size,
        etag=upload.md5,
        modified=call.services.clock(),
        acl=given.acl,
        headers=given.headers,
        segments=sealing.whole(stored),
        tags=tags,
        encryption=wanted.encryption,
        lock=lock,
    )
    return replace(record, version=await objects.commit(call, record, stored))


def _nothing() -> None:
    return


def _answer(call: Call, fields: Mapping[str, str], record: ObjectRecord) -> Answer:
    location = f"http://{call.headers.get('Host', '')}/{quote(f'{record.bucket}/{record.key}')}"
    headers = {"ETag": quoted(record.etag), "Location": location, **objects.version_header(call, record.version)}
    redirect = fields.get("success_action_redirect") or fields.get("redirect") or ""
    if redirect and urlsplit(redirect).scheme in ("http", "https") and not any(ord(c) < 33 for c in redirect):
        more = urlencode({"bucket": record.bucket, "key": record.key, "etag": quoted(record.etag)})
        headers["Location"] = f"{redirect}{'&' if '?' in redirect else '?'}{more}"
        return Answer(303, headers)
    if fields.get("success_action_status") == "201":
        answer = xml(
            s3xml.document(
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
