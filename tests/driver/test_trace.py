"""Traces: events of several daemons in order, joined, filtered and drawn."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from hailbox.commands.up import up
from hailbox.engine.fake import FakeEngine
from hailbox.model.errors import NotWorkingError, UnknownServiceError, UnknownStackError
from hailbox.trace import har, waterfall
from hailbox.trace.exchange import CLIENT, Exchange, Filter, exchange
from hailbox.trace.follow import Tracer
from hailbox.trace.merging import HELD, Merger
from haild.tabled.http.insight import operation_name
from haild.wire import traceparent
from support.cli_program import run
from support.fakestack import MakeContext, container_of

ADDRESSES = {"10.0.0.2": "iwhd-1", "10.0.0.3": "tabled-1"}


def event(**changes: Any) -> dict[str, Any]:
    return {
        "kind": "request", "time": 100.0, "seconds": 0.02, "peer": "::ffff:10.0.0.2", "operation": "PutObject",
        "bucket": "images", "key": "debian12", "status": "200", "received": 5, "sent": 0, "trace": "a" * 32,
        "span": "b" * 16, "parent": "c" * 16, "method": "PUT", "target": "/images/debian12?x=1", "id": "ID",
    } | changes  # fmt: skip


def made(**changes: Any) -> Exchange:
    return exchange(event(**changes), "tabled-1", "tabled", ADDRESSES)


def test_who_asked_is_told_by_name_or_as_a_client() -> None:
    assert made().source == "iwhd-1"
    assert made(peer="172.17.0.1").source == CLIENT
    assert made().place == "images/debian12"
    for broken in ({"time": "soon"}, {"seconds": []}, {"received": "many"}):
        with pytest.raises(ValueError):
            made(**broken)


def test_a_request_to_a_node_belongs_to_the_trace_of_the_one_that_it_is_made_for() -> None:
    merger = Merger()
    node = {"operation": "CHO_PUT", "key": "00ab", "trace": "", "span": "", "bucket": "", "status": "SUCCESS"}
    merger.take(event(**node, time=100.01, peer="10.0.0.3"), "chunkd-1", "chunkd", 0.0)
    merger.addresses = ADDRESSES
    call = {"kind": "call", "operation": "CHO_PUT", "key": "00ab", "trace": "a" * 32, "span": "b" * 16}
    merger.take(call, "tabled-1", "tabled", 0.1)
    merger.take(event(time=100.0, seconds=0.5), "tabled-1", "tabled", 0.1)
    merger.take({"kind": "request"}, "tabled-1", "tabled", 0.1)
    assert list(merger.ready(0.1)) == []
    first, second = merger.ready(0.1 + HELD)
    assert (first.replica, first.trace, first.parent) == ("chunkd-1", "a" * 32, "b" * 16)
    assert second.operation == "PutObject"


@pytest.mark.parametrize(
    ("wanted", "passes"),
    [
        (Filter(), True),
        (Filter(bucket="images"), True),
        (Filter(bucket="other"), False),
        (Filter(status="2xx"), True),
        (Filter(status="5xx"), False),
        (Filter(status="200"), True),
        (Filter(slower=0.01), True),
        (Filter(slower=0.1), False),
    ],
)
def test_filters(wanted: Filter, passes: bool) -> None:
    assert wanted.passes(made()) is passes


def test_a_waterfall_shows_what_follows_from_what() -> None:
    followed = waterfall.Followed("images", "debian12")
    node = made(operation="CHO_PUT", key="00ab", bucket="", time=100.01, seconds=0.005, span="", parent="b" * 16)
    followed.take(node, 1.0)
    followed.take(made(), 1.1)
    followed.take(made(trace="d" * 32, key="other"), 1.1)
    assert list(followed.complete(1.2)) == []
    (complete,) = followed.complete(9.0)
    first, put, chunk = waterfall.lines(complete)
    assert first == f"trace {'a' * 32}"
    assert put.startswith("iwhd-1 → tabled-1 PutObject")
    assert chunk.startswith("  iwhd-1 → tabled-1 CHO_PUT")
    assert "20.00 ms" in put
    assert waterfall.lines([made(seconds=None)])


def test_an_archive_has_what_browsers_tools_ask_for() -> None:
    (entry,) = har.archive([made(), made(method="")], "1")["log"]["entries"]
    assert entry["request"]["url"] == "http://tabled-1/images/debian12?x=1"
    assert entry["request"]["queryString"] == [{"name": "x", "value": "1"}]
    assert (entry["response"]["status"], entry["response"]["statusText"]) == (200, "OK")
    assert entry["startedDateTime"] == "1970-01-01T00:01:40.000+00:00"
    assert sum(entry["timings"].values()) == entry["time"] == 20.0


@pytest.mark.parametrize(
    ("method", "action", "query", "copies", "name"),
    [
        ("GET", "s3:GetObject", {}, False, "GetObject"),
        ("HEAD", "s3:GetObject", {}, False, "HeadObject"),
        ("GET", "s3:ListBucket", {"list-type": "2"}, False, "ListObjectsV2"),
        ("GET", "s3:ListBucket", {}, False, "ListObjects"),
        ("HEAD", "s3:ListBucket", {}, False, "HeadBucket"),
        ("PUT", "s3:PutObject", {"uploadId": "u", "partNumber": "1"}, False, "UploadPart"),
        ("PUT", "s3:PutObject", {"uploadId": "u", "partNumber": "1"}, True, "UploadPartCopy"),
        ("POST", "s3:PutObject", {"uploadId": "u"}, False, "CompleteMultipartUpload"),
        ("POST", "s3:PutObject", {"uploads": ""}, False, "CreateMultipartUpload"),
        ("PUT", "s3:PutObject", {}, True, "CopyObject"),
        ("POST", "s3:DeleteObject", {"delete": ""}, False, "DeleteObjects"),
        ("PUT", "", {}, False, "unknown"),
    ],
)
def test_operations_are_called_as_in_the_s3_api(
    method: str, action: str, query: dict[str, str], copies: bool, name: str
) -> None:
    assert operation_name(method, action, query, copies) == name


def test_a_trace_goes_on_where_a_header_says_so() -> None:
    random = Random(1)
    header = f"00-{'1' * 32}-{'2' * 16}-01"
    found = traceparent.received(header, random)
    assert (found.trace, found.parent) == ("1" * 32, "2" * 16)
    assert traceparent.received(found.header, random).parent == found.span
    broken = (None, "", "x", header.upper() + "-", f"00-{'0' * 32}-{'2' * 16}-01", f"ff-{'1' * 32}-{'2' * 16}-01",
              f"00-{'1' * 32}-{'0' * 16}-01", f"{header}-more")  # fmt: skip
    for each in broken:
        fresh = traceparent.received(each, random)
        assert fresh.parent == ""
        assert fresh.trace != "1" * 32


def test_a_trace_reads_what_the_daemons_tell(fake: FakeEngine, make_context: MakeContext) -> None:
    up(make_context())
    container = container_of(fake, "tabled-1")
    fake.streams[container.id] = [json.dumps({"number": 1, **event()}).encode(), b"garbage", b'{"number": 2}']
    tracer = Tracer(make_context())
    found: list[Exchange] = []
    for turn in tracer.turns(20.0):
        found += turn
        if found:
            tracer.stop()
    (only,) = found
    assert (only.replica, only.operation, only.request_id) == ("tabled-1", "PutObject", "ID")
    with pytest.raises(UnknownServiceError):
        next(Tracer(make_context(), ["mongo"]).turns())
    with pytest.raises(UnknownStackError):
        next(Tracer(make_context(stack="other")).turns())


def test_daemons_that_tell_nothing_are_told_of(make_context: MakeContext, monkeypatch: pytest.MonkeyPatch) -> None:
    up(make_context())
    monkeypatch.setattr("hailbox.trace.follow.SILENT", 0.5)
    with pytest.raises(NotWorkingError):
        list(Tracer(make_context()).turns(20.0))


@pytest.mark.parametrize("words", [["--follow-object", "images"], ["--slower", "soon"], ["--for", "0"]])
def test_what_cannot_be_followed_is_bad_usage(words: list[str], tmp_path: Path) -> None:
    code, problem, _ = run(tmp_path, "trace", *words).error()
    assert code == "bad-usage"
    assert words[0] in problem
