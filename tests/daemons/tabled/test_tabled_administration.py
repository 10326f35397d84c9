"""What an administrator of tabled has: the status port, tdbadm, the command line; over a real stack."""

from __future__ import annotations

import asyncio
import http.client
import io
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from haild.tabled import tdbadm
from haild.tabled.metadata import schema, users
from haild.tabled.metadata.records import Bucket, ObjectRecord, Segment, StoredBody
from haild.tabled.metadata.sqlite import SqliteMetadata
from haild.tabled.s3.acl import canned
from support.ports import free_port
from support.tabledstack import Stack, serving, wait_for


@pytest.fixture(scope="module")
def status_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, status_port: int) -> Iterator[Stack]:
    with serving(tmp_path_factory.mktemp("stack"), settings=f"<StatusPort>{status_port}</StatusPort>") as stack:
        yield stack


# status


def test_status_port(s3: Any, bucket: str, stack: Stack, status_port: int) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    url = f"http://127.0.0.1:{status_port}"
    page = requests.get(f"{url}/", timeout=5)
    assert page.headers["Content-Type"].startswith("text/html")
    assert "<h1>Status</h1>" in page.text
    state = requests.get(f"{url}/status.json", timeout=5).json()
    assert (state["state"], state["group"], state["port"]) == ("Master", "default", stack.tabled.port)
    assert [(node["id"], node["up"]) for node in state["nodes"]] == [(1, True)]
    metrics = requests.get(f"{url}/metrics", timeout=5).text
    assert 'tabled_requests_total{action="s3:PutObject",status="200"}' in metrics
    assert 'tabled_node_up{node="1"} 1' in metrics
    families = list(text_string_to_metric_families(metrics))
    assert len({family.name for family in families}) == len(families)
    assert {family.type for family in families} == {"counter", "gauge", "histogram"}
    for family in families:
        assert family.documentation
        for sample in family.samples:
            assert sample.name.endswith("_total") is (family.type == "counter")
    counted = {
        s.labels["operation"]: s.value for f in families for s in f.samples if s.name == "haild_requests_total"
    }
    assert counted["PutObject"] >= 1
    assert requests.get(f"{url}/?x", timeout=5).status_code == 404
    assert requests.post(f"{url}/", timeout=5).status_code == 400


# tdbadm


def run_tdbadm(stack: Stack, *arguments: str) -> tuple[int, str]:
    sink = io.StringIO()
    status = tdbadm.main(["-C", str(stack.directory / "one.conf"), *arguments], sink=sink)
    return status, sink.getvalue()


def test_tdbadm_lists(s3: Any, bucket: str, stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", Metadata={"a": "b"}, ACL="public-read")
    assert run_tdbadm(stack, "-U") == (0, "username\tpassword\nalice\tsesame\nbob\tbuilder\n")
    assert "2 records" in capsys.readouterr().err
    _, text = run_tdbadm(stack, "-B")
    assert text.startswith("name\towner\ttime_created\n")
    assert f"{bucket}\talice\t" in text
    acls = run_tdbadm(stack, "-A")[1]
    assert f"{bucket}\t*\tREAD\tk\n" in acls
    assert f"{bucket}\talice\tREAD,WRITE,READ_ACP,WRITE_ACP\t\n" in acls
    objects = run_tdbadm(stack, "-O")[1]
    assert objects.startswith("bucket\towner\tmd5\tsize|addr\tn_str\n")
    assert f"{bucket}\talice\t9dd4e461268c8034f5c8564e155c67a6\t" in objects
    assert "\t1,0,0 2\nkey: k\n" in objects
    everything = run_tdbadm(stack, "-a")[1]
    assert everything.startswith("Users:\nusername\tpassword\n")
    assert "ObjectCount: " in everything


WHOLE = """\
Users:
username\tpassword
alice\tsesame
bob\ta\tb

Buckets:
name\towner\ttime_created
docs\talice\t1290969682

ACLs:
bucket\tgrantee\tperm\tkey
docs\talice\tREAD,WRITE,READ_ACP,WRITE_ACP\t
docs\t*\tREAD\t
docs\tbob\tREAD,WRITE,READ_ACP,WRITE_ACP\ta/b c
docs\tbob\tREAD,WRITE,READ_ACP,WRITE_ACP\tempty

Objects:
bucket\towner\tmd5\tsize|addr\tn_str
docs\tbob\t9dd4e461268c8034f5c8564e155c67a6\t1F2A\t1,3,0 2
key: a/b c
str1: Content-Type: text/plain
str2: X-Amz-Meta-Colour: Blue
====
docs\tbob\td41d8cd98f00b204e9800998ecf8427e\t0\t0,0,0 0
key: empty
====

ObjectCount: 8000
"""
"""tabled.md 2.2, of the database below."""


async def fill(directory: Path) -> None:
    users.insert(directory / schema.FILE_NAME, [("bob", "a\tb"), ("alice", "sesame")])
    metadata = SqliteMetadata(directory / schema.FILE_NAME)
    await metadata.create_bucket(Bucket("docs", 1290969682.9, canned("public-read", "alice")))
    common: dict[str, Any] = {"bucket": "docs", "modified": 1290969683.0, "acl": canned("private", "bob")}
    headers = {"Content-Type": "text/plain", "X-Amz-Meta-Colour": "Blue"}
    body, segments = StoredBody(0x1F2A, 1, (3, 1)), (Segment(0x1F2A, 0, 1),)
    md5 = "9dd4e461268c8034f5c8564e155c67a6"
    record = ObjectRecord(key="a/b c", size=1, etag=md5, headers=headers, segments=segments, **common)
    await metadata.put_object(record, [body])
    await metadata.put_object(
        ObjectRecord(key="empty", size=0, etag="d41d8cd98f00b204e9800998ecf8427e", headers={}, segments=(), **common),
        [],
    )
    await metadata.close()
    with closing(sqlite3.connect(directory / schema.FILE_NAME)) as db, db:
        db.execute("UPDATE facts SET value = 2 WHERE name = 'first_body'")
        db.execute("UPDATE facts SET value = 8000 WHERE name = 'next_body'")
    (directory / "witness").unlink()  # it knows larger numbers


def test_tdbadm_lists_to_the_letter(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(fill(tmp_path))
    (tmp_path / "tabled.conf").write_text(f"<TDB>{tmp_path}</TDB>")
    found = io.StringIO()
    assert tdbadm.main(["-C", str(tmp_path / "tabled.conf"), "-a"], sink=found) == 0
    assert found.getvalue() == WHOLE
    assert capsys.readouterr().err == "2 records\n1 records\n4 records\n2 records\n"
    sections = WHOLE.split("\n\n")
    for letter, section in zip("UBAO", sections[:4], strict=True):
        found = io.StringIO()
        assert tdbadm.main(["-C", str(tmp_path / "tabled.conf"), "-a", f"-{letter}"], sink=found) == 0
        assert found.getvalue() == section.partition("\n")[2] + "\n"
    users.insert(tmp_path / "passwd", [("carol", "c")])
    (tmp_path / "new").mkdir()
    found = io.StringIO()
    assert tdbadm.main(["-C", str(tmp_path / "tabled.conf"), "-t", str(tmp_path / "new"), "-a"], sink=found) == 0
    assert found.getvalue().endswith("\n\nObjectCount: -\n")


def test_tdbadm_loads_users(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configuration = tmp_path / "tabled.conf"
    configuration.write_text(f"<TDB>{tmp_path / 'first'}</TDB><TDB>{tmp_path}</TDB>")
    (tmp_path / "first").mkdir()
    base = ["-C", str(configuration)]
    assert tdbadm.main([*base, "-u"], source=io.StringIO("# c\nbob\tx y\tz \n\nbad\n")) == 0
    assert (tmp_path / "first" / "passwd").is_file()
    assert tdbadm.main([*base, "-u"], source=io.StringIO("carol\tc\nbob\tb\n")) == 1
    assert "db put: " in capsys.readouterr().err
    sink = io.StringIO()
    assert tdbadm.main([*base, "-U"], sink=sink) == 0
    assert sink.getvalue() == "username\tpassword\nbob\tx y\tz\n"
    assert tdbadm.main(base) == 1
    assert tdbadm.main(["-C", str(tmp_path / "none"), "-t", str(tmp_path), "-U"]) == 1
    with pytest.raises(SystemExit) as caught:
        tdbadm.main([*base, "--nonsense"])
    assert caught.value.code == 64


# the program


def run_tabled(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "haild.tabled", *arguments], capture_output=True, text=True, timeout=20, check=False
    )


def test_command_line(tmp_path: Path) -> None:
    assert run_tabled("--version").stdout == "0.5.2\n"
    assert run_tabled("--nonsense").returncode == 64
    missing = run_tabled("-E", "-F", "-C", str(tmp_path / "none"))
    assert missing.returncode == 1
    assert "none" in missing.stderr
    configuration = tmp_path / "tabled.conf"
    configuration.write_text("<TDB>/nonexistent</TDB>")
    assert run_tabled("-E", "-F", "-C", str(configuration)).returncode == 1


def test_the_client_port_is_refused_until_there_is_a_master(tmp_path: Path) -> None:
    """No cld: the port file is there, the status page answers, connections are refused."""
    (tmp_path / "tdb").mkdir()
    status = free_port()
    configuration = tmp_path / "tabled.conf"
    configuration.write_text(
        f"<TDB>{tmp_path / 'tdb'}</TDB><PID>{tmp_path / 'pid'}</PID><StatusPort>{status}</StatusPort>"
        f"<Listen><Port>auto</Port><PortFile>{tmp_path / 'port'}</PortFile></Listen>"
        f"<CLD><Host>127.0.0.1</Host><Port>{free_port()}</Port></CLD>"
    )
    arguments = [sys.executable, "-m", "haild.tabled", "-F", "-E", "-C", str(configuration)]
    with subprocess.Popen(arguments, stderr=subprocess.PIPE) as process:
        try:
            wait_for(lambda: (tmp_path / "port").exists(), "port file")

            def state() -> Any:
                try:
                    return requests.get(f"http://127.0.0.1:{status}/status.json", timeout=5).json()["state"]
                except requests.ConnectionError:
                    return None

            assert wait_for(state, "status page") == "Init"
            port = int((tmp_path / "port").read_text().rpartition(":")[2])
            connection = http.client.HTTPConnection("127.0.0.1", port)
            with pytest.raises(ConnectionRefusedError):
                connection.request("GET", "/")
        finally:
            process.terminate()
            assert process.wait(5) == 0
