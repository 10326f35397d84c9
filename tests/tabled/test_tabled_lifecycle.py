"""Lifecycle rules: documents, ages, and the job over real metadata."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest

from haild.tabled.metadata.records import Bucket, ListQuery, ObjectRecord, Upload
from haild.tabled.metadata.sqlite import SqliteMetadata
from haild.tabled.operations.expiry import BATCH, Lifecycle
from haild.tabled.s3 import lifecycle
from haild.tabled.s3.acl import Acl
from haild.tabled.s3.errors import S3Error
from haild.wire.s3 import xml as s3xml

DAY = lifecycle.DAY
STATUS = "<Status>Enabled</Status>"
FILTER = "<Filter><Prefix>a/</Prefix></Filter>"
DAYS = "<Expiration><Days>5</Days></Expiration>"
TAG = "<Tag><Key>k</Key><Value>v</Value></Tag>"
ABORT = (
    "<AbortIncompleteMultipartUpload><DaysAfterInitiation>2</DaysAfterInitiation></AbortIncompleteMultipartUpload>"
)
OLD = "<NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays></NoncurrentVersionExpiration>"


def document(*rules: str) -> s3xml.Element:
    text = "".join(f"<Rule>{rule}</Rule>" for rule in rules)
    return s3xml.parse(f"<LifecycleConfiguration>{text}</LifecycleConfiguration>".encode(), "LifecycleConfiguration")


def moving(*fields: str) -> str:
    return "".join(f"<Transition>{field}</Transition>" for field in fields)


@pytest.mark.parametrize(
    ("rules", "code"),
    [
        ([], "MalformedXML"),
        ([FILTER + STATUS], "MalformedXML"),
        ([STATUS + DAYS], "MalformedXML"),
        (["<Prefix/>" + FILTER + STATUS + DAYS], "MalformedXML"),
        ([FILTER + "<Status>enabled</Status>" + DAYS], "MalformedXML"),
        ([FILTER + STATUS + DAYS + DAYS], "MalformedXML"),
        ([FILTER + STATUS + DAYS + "<Unknown/>"], "MalformedXML"),
        ([FILTER + STATUS + "<Expiration/>"], "MalformedXML"),
        ([FILTER + STATUS + DAYS.replace("5", "0")], "InvalidArgument"),
        ([FILTER + STATUS + DAYS.replace("5", "-1")], "InvalidArgument"),
        ([FILTER + STATUS + "<Expiration><Date>20300101</Date></Expiration>"], "MalformedXML"),
        ([FILTER + STATUS + "<Expiration><Date>2030-01-01T01:00:00Z</Date></Expiration>"], "InvalidArgument"),
        ([FILTER + STATUS + "<Expiration><Days>1</Days><Date>2030-01-01</Date></Expiration>"], "MalformedXML"),
        ([f"<Filter><Prefix>a</Prefix>{TAG}</Filter>{STATUS}{DAYS}"], "MalformedXML"),
        ([f"<Filter><And/></Filter>{STATUS}{DAYS}"], "MalformedXML"),
        ([f"<Filter><And>{TAG}{TAG}</And></Filter>{STATUS}{DAYS}"], "InvalidRequest"),
        ([f"<Filter>{TAG}</Filter>{STATUS}{ABORT}"], "InvalidRequest"),
        ([FILTER + STATUS + OLD.replace("NoncurrentDays", "NewerNoncurrentVersions")], "MalformedXML"),
        ([f"<ID>{'i' * 256}</ID>" + FILTER + STATUS + DAYS], "InvalidArgument"),
        (["<ID>i</ID>" + FILTER + STATUS + DAYS] * 2, "InvalidArgument"),
        ([FILTER + STATUS + moving("<Days>1</Days><StorageClass>NOWHERE</StorageClass>")], "MalformedXML"),
        ([FILTER + STATUS + moving("<StorageClass>GLACIER</StorageClass>")], "MalformedXML"),
        ([FILTER + STATUS + DAYS + moving("<Days>5</Days><StorageClass>GLACIER</StorageClass>")], "InvalidArgument"),
        (
            [FILTER + STATUS + DAYS + moving("<Date>2030-01-01</Date><StorageClass>GLACIER</StorageClass>")],
            "InvalidRequest",
        ),
    ],
)
def test_documents_that_are_refused(rules: list[str], code: str) -> None:
    with pytest.raises(S3Error) as caught:
        lifecycle.read(document(*rules))
    assert caught.value.code == code


def test_a_document_is_kept_as_it_was_given_with_ids() -> None:
    rules = [FILTER + STATUS + DAYS, "<ID>\u00e9</ID><Prefix></Prefix>" + STATUS + ABORT]
    text = lifecycle.to_text(document(*rules))
    assert rules[1] in text
    first, second = lifecycle.from_text(text)
    assert (len(first.name) > 0, second.name) == (True, "\u00e9")
    assert (first.prefix, first.days, second.upload_days) == ("a/", 5, 2)


def test_ages() -> None:
    rule = lifecycle.Rule(days=2)
    # At noon of day 100 what was stored on day 97 has been two days old since midnight; day 98 has not.
    assert rule.expires_before(100.5 * DAY) == 98 * DAY
    assert rule.expiry(97.5 * DAY) == 100 * DAY
    dated = lifecycle.Rule(date=98 * DAY)
    assert dated.expires_before(97.9 * DAY) is None
    assert dated.expires_before(98.1 * DAY) == 98.1 * DAY
    # A short day, for tests of rules, is not rounded to anything.
    assert rule.expires_before(1000.5, 10.0) == 980.5
    assert rule.expiry(980.5, 10.0) == 1000.5


def test_the_header_names_the_first_rule() -> None:
    rules = [
        lifecycle.Rule(name="late", days=9),
        lifecycle.Rule(name="soon", days=1, prefix="a/"),
        lifecycle.Rule(name="off", days=1, enabled=False),
    ]
    assert lifecycle.expiration_header(rules, "a/k", 1, (), 0.0) == (
        'expiry-date="Fri, 02 Jan 1970 00:00:00 GMT", rule-id="soon"'
    )
    assert 'rule-id="late"' in lifecycle.expiration_header(rules, "b/k", 1, (), 0.0)
    assert lifecycle.expiration_header(rules[1:], "b/k", 1, (), 0.0) == ""


class _Collector:
    """Tells when the job has been through all buckets."""

    def __init__(self) -> None:
        self.done = asyncio.Event()

    def wake(self) -> None:
        self.done.set()


async def _once(metadata: SqliteMetadata, now: float) -> None:
    collector = _Collector()
    task = asyncio.create_task(Lifecycle(metadata, collector, lambda: now).run())  # type: ignore[arg-type]
    await asyncio.wait_for(collector.done.wait(), 20)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _with_metadata(path: Path, test: Any) -> None:
    async def run() -> None:
        metadata = SqliteMetadata(path / "passwd")
        try:
            await test(metadata)
        finally:
            await metadata.close()

    asyncio.run(run())


async def _bucket(metadata: SqliteMetadata, name: str, text: str, versioning: str = "") -> None:
    await metadata.create_bucket(Bucket(name, 0.0, Acl("u")))
    if versioning:
        await metadata.set_versioning(name, versioning)
    await metadata.set_setting(name, lifecycle.SETTING, text)


def test_days_clean_lone_delete_markers(tmp_path: Path) -> None:
    async def test(metadata: SqliteMetadata) -> None:
        await _bucket(metadata, "b", lifecycle.to_text(document("<Prefix/>" + STATUS + DAYS + OLD)), "Enabled")
        await metadata.put_object(ObjectRecord("b", "k", 0, "0" * 32, 0.0, Acl("u")), ())
        await metadata.delete_object("b", "k")
        (marker, *_) = (await metadata.list_versions(ListQuery("b"))).entries
        for _ in range(2):  # the old version goes in the first run, the marker is alone in the second
            await _once(metadata, marker.listed.modified + 4 * DAY)
        assert [e.marker for e in (await metadata.list_versions(ListQuery("b"))).entries] == [True]
        await _once(metadata, marker.listed.modified + 7 * DAY)
        assert (await metadata.list_versions(ListQuery("b"))).entries == []

    _with_metadata(tmp_path, test)


def test_one_bad_document_stops_no_other(tmp_path: Path) -> None:
    async def test(metadata: SqliteMetadata) -> None:
        good = lifecycle.to_text(document("<Prefix/>" + STATUS + DAYS))
        for name, text in (("a", "no XML"), ("b", "<LifecycleConfiguration/>"), ("c", good)):
            await _bucket(metadata, name, text)
            await metadata.put_object(ObjectRecord(name, "k", 0, "0" * 32, 0.0, Acl("u")), ())
        await _once(metadata, 10 * DAY)
        assert [len((await metadata.list_objects(ListQuery(name))).entries) for name in "abc"] == [1, 1, 0]

    _with_metadata(tmp_path, test)


def test_all_old_uploads_are_aborted_and_no_young_one(tmp_path: Path) -> None:
    async def test(metadata: SqliteMetadata) -> None:
        await _bucket(metadata, "b", lifecycle.to_text(document("<Prefix/>" + STATUS + ABORT)))
        for number in range(BATCH + 3):
            await metadata.create_upload(Upload(f"{number:05}", "b", f"k{number % 7}", 0.0, Acl("u"), {}))
        await metadata.create_upload(Upload("young", "b", "k", 9 * DAY, Acl("u"), {}))
        await _once(metadata, 10 * DAY)
        assert [u.upload for u in (await metadata.list_uploads(ListQuery("b"))).uploads] == ["young"]

    _with_metadata(tmp_path, test)
