"""A stack that begins with buckets of a directory, also after a reset and a quick one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import requests

from support.enginestack import Stack

pytestmark = pytest.mark.timeout(120)


def test_buckets_of_a_directory(stack: Stack, tmp_path: Path) -> None:
    image, text = os.urandom(3_000_000), b"hello"
    for path, body in (("iwhd/images/debian", image), ("tabled/notes/a/b c.txt", text)):
        (tmp_path / "seed" / path).parent.mkdir(parents=True)
        (tmp_path / "seed" / path).write_bytes(body)
    (stack.home / "hailbox.yaml").write_text(f"stack: {stack.name}\nseed: {tmp_path}/seed\n")
    for words in (("up",), ("reset",), ("reset", "--quick")):
        result = stack.run_here(*words).data
        assert (result if words == ("up",) else result["stack"])["seeded"] == 2
        env = stack.env()
        assert requests.get(f"{env['IWHD_URL']}/images/debian", timeout=10).content == image
        s3 = stack.s3(env=env)
        assert s3.get_object(Bucket="notes", Key="a/b c.txt")["Body"].read() == text
        s3.put_object(Bucket="notes", Key="more", Body=b"x")
    assert stack.run_here("up").data["seeded"] == 0
    assert [entry["Key"] for entry in s3.list_objects_v2(Bucket="notes")["Contents"]] == ["a/b c.txt", "more"]
