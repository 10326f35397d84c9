"""Metadata of an object that are not as they were written: an error that names it, and never wrong content."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from haild.tabled.metadata import schema
from support.tabledstack import Stack, serving


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    with serving(tmp_path, same_ports=True) as stack:
        yield stack


def damage(stack: Stack, change: tuple[bytes, bytes]) -> None:
    """Change bytes in the file of the database while no process has it open, as a bad disk does."""
    assert stack.tabled.stop() == 0
    database = stack.directory / "tdb" / schema.FILE_NAME
    content = database.read_bytes()
    old, new = change
    assert len(old) == len(new)
    assert content.count(old) == 1
    database.write_bytes(content.replace(old, new))
    stack.tabled.start()
    stack.wait_serving()
    stack.wait_nodes()


@pytest.mark.parametrize("versioning", ["", "Enabled"])
def test_a_changed_byte_is_an_error_until_the_object_is_stored_again(stack: Stack, versioning: str) -> None:
    s3: Any = stack.client()
    s3.create_bucket(Bucket="bitrot")
    if versioning:
        s3.put_bucket_versioning(Bucket="bitrot", VersioningConfiguration={"Status": versioning})
    for key in ("k", "other", "tagged"):
        s3.put_object(Bucket="bitrot", Key=key, Body=key.encode(), Metadata={"colour": f"turquoise-of-{key}"})
    s3.put_object_tagging(Bucket="bitrot", Key="tagged", Tagging={"TagSet": [{"Key": "a", "Value": "1"}]})
    damage(stack, (b"turquoise-of-k", b"turquoise-of-j"))
    for ask in (s3.get_object, s3.head_object, s3.get_object_acl, s3.get_object_tagging):
        with pytest.raises(ClientError) as refused:
            ask(Bucket="bitrot", Key="k")
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
    with pytest.raises(ClientError):
        s3.copy_object(Bucket="bitrot", Key="copy", CopySource="bitrot/k")
    assert "the metadata of bitrot/k are damaged" in stack.log(stack.tabled)
    assert s3.get_object(Bucket="bitrot", Key="other")["Metadata"] == {"colour": "turquoise-of-other"}
    assert s3.get_object(Bucket="bitrot", Key="tagged")["TagCount"] == 1
    s3.put_object(Bucket="bitrot", Key="k", Body=b"new", Metadata={"colour": "red"})
    answer = s3.get_object(Bucket="bitrot", Key="k")
    assert (answer["Body"].read(), answer["Metadata"]) == (b"new", {"colour": "red"})


def test_a_damaged_object_can_be_deleted(stack: Stack) -> None:
    s3: Any = stack.client()
    s3.create_bucket(Bucket="bitrot")
    s3.put_object(Bucket="bitrot", Key="k", Body=b"x", ContentType="text/magenta")
    damage(stack, (b"text/magenta", b"text/magentb"))
    s3.delete_object(Bucket="bitrot", Key="k")
    assert "Contents" not in s3.list_objects_v2(Bucket="bitrot")
    s3.delete_bucket(Bucket="bitrot")


def test_rows_of_an_earlier_version_get_their_checksum(tmp_path: Path) -> None:
    with contextlib.closing(schema.connect(tmp_path / "passwd")) as connection:
        connection.executescript(schema.TABLES + schema.MIGRATIONS[2] + "PRAGMA user_version = 2;")
        connection.execute(
            "INSERT INTO objects VALUES"
            " (1, 'b', 'k', 3, 'tag', 1, 'alice', 'null', 0, 1, '', '5:0:3', '', '', '', '', '', '')"
        )
        schema.create(connection)
        row = connection.execute(f"SELECT {schema.OBJECT_COLUMNS} FROM objects").fetchone()
        assert schema.object_from(row).etag == "tag"
