"""Where the bodies of an object are, told beside the running server; and the listing that a console shows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from haild.client.s3 import S3Client
from haild.tabled import whereabouts
from support.tabledstack import USERS, Stack, serving

KEYS = ["a b+c%20d&e=f#g?h", "new\nline", "\u05e9\u05dc\u05d5\u05dd", "k" * 1024]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with serving(tmp_path_factory.mktemp("stack")) as stack:
        yield stack


def ask(stack: Stack, capsys: pytest.CaptureFixture[str], bucket: str, key: str) -> Any:
    words = [str(stack.directory / "tdb"), quote(bucket, safe=""), quote(key, safe="")]
    assert whereabouts.main(words) == 0
    return json.loads(capsys.readouterr().out)


def test_each_body_is_told_with_its_nodes(
    s3: Any, bucket: str, stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    for key in KEYS:
        s3.put_object(Bucket=bucket, Key=key, Body=b"x" * 100)
        found = ask(stack, capsys, bucket, key)
        assert (found["size"], found["encrypted"]) == (100, False)
        (segment,) = found["segments"]
        assert segment["nodes"] == [1]
        assert (segment["offset"], segment["length"], segment["size"]) == (0, 100, 100)
        assert segment["key"] == f"{segment['body']:016x}"
    assert ask(stack, capsys, bucket, "none") is None
    s3.put_object(Bucket=bucket, Key="secret", Body=b"x", ServerSideEncryption="AES256")
    assert ask(stack, capsys, bucket, "secret")["encrypted"]


def test_a_directory_without_metadata_is_an_error(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert whereabouts.main([str(tmp_path), "b", "k"]) == 1
    assert str(tmp_path) in capsys.readouterr().err
    assert whereabouts.main([]) == 2


async def test_keys_come_back_as_they_are_page_by_page(s3: Any, bucket: str, stack: Stack) -> None:
    for key in KEYS:
        s3.put_object(Bucket=bucket, Key=key, Body=b"x" * 7)
    async with S3Client("127.0.0.1", stack.tabled.port, key="alice", secret=USERS["alice"]) as client:
        found: list[str] = []
        more = True
        while more:
            page, more = await client.list_page(bucket, after=found[-1] if found else "", limit=3)
            assert all(each.size == 7 and each.etag for each in page)
            found += [each.key for each in page]
        assert found == sorted(KEYS, key=str.encode)
        assert [each.key for each in (await client.list_page(bucket, prefix="new"))[0]] == ["new\nline"]
