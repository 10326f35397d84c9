"""The tables of tabled's database are those of their version, and a database with others is refused."""

import contextlib
import hashlib
import io
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from haild.daemon.errors import DamagedDataError
from haild.tabled import tdbadm
from haild.tabled.daemon import check_database
from haild.tabled.metadata import bodies, objects, schema, users
from haild.tabled.metadata.records import StoredBody

PINNED = {
    1: "85064e3d4123ee27a28fbd2a5c7fbbe2783325c7d745fdccf72449d652e0a158",
    2: "a4f253cb02d682cd37fec52c2b813b805109989914997d091706c544fbace008",
    3: "34d03955f6a756869c6b9c3bce73e486a480b1887d61a49327c4a5b994d95f06",
}
"""By version the SHA-256 of its tables, or of the way to them. A released version's line never changes."""
DAMAGED_DATA_STATUS = 65


def change(directory: Path, statement: str) -> None:
    """Do something to a new database that this tabled does not do."""
    users.insert(directory / schema.FILE_NAME, [("alice", "sesame")])
    check_database(directory)
    with contextlib.closing(sqlite3.connect(directory / schema.FILE_NAME)) as connection:
        connection.execute(statement)
        connection.commit()


@pytest.mark.parametrize("version", [1, *schema.MIGRATIONS])
def test_the_tables_are_those_of_their_version(version: int) -> None:
    text = " ".join(schema.MIGRATIONS.get(version, schema.TABLES).split())
    assert hashlib.sha256(text.encode()).hexdigest() == PINNED[version], "changed tables need a new migration"


def test_a_database_of_an_earlier_version_becomes_one_of_this(tmp_path: Path) -> None:
    path = tmp_path / schema.FILE_NAME
    values = ("a", "k", 3, "tag", 1.0, "alice", "null", 0, 1, "", "5:0:3", "", "", "", "")
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(f"{schema.TABLES} PRAGMA user_version = 1;")
        marks = ", ".join("?" * len(values))
        connection.execute(f"INSERT INTO objects VALUES (1, {marks})", values)
        connection.execute("INSERT INTO bodies VALUES (5, 3, 1, '7')")
        connection.commit()
    check_database(tmp_path)
    with contextlib.closing(schema.connect(path)) as connection:
        schema.create(connection)
        assert schema.check(connection) == schema.VERSION
        record = objects.current(connection, "a", "k")
        assert record is not None
        assert (record.etag, record.encryption, record.lock) == ("tag", {}, {})
        assert bodies.find(connection, 5) == StoredBody(5, 3, (7,))


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("ALTER TABLE bodies DROP COLUMN nodes", "bodies.nodes"),
        ("ALTER TABLE bodies ADD COLUMN place TEXT", "bodies.place"),
        ("ALTER TABLE objects RENAME COLUMN etag TO md5", "objects.etag, objects.md5"),
        ("DROP TABLE garbage", "garbage.body, garbage.node"),
        ("PRAGMA user_version = 77", "version 77"),
    ],
)
def test_a_database_with_other_tables_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], statement: str, expected: str
) -> None:
    change(tmp_path, statement)
    with pytest.raises(DamagedDataError) as caught:
        check_database(tmp_path)
    assert expected in str(caught.value)
    assert str(tmp_path / schema.FILE_NAME) in str(caught.value)
    (tmp_path / "tabled.conf").write_text(f"<TDB>{tmp_path}</TDB>")
    assert tdbadm.main(["-C", str(tmp_path / "tabled.conf"), "-u"], source=io.StringIO("bob\tb\n")) == 1
    assert expected in capsys.readouterr().err


def test_the_daemon_says_so_and_ends(tmp_path: Path) -> None:
    change(tmp_path, "ALTER TABLE bodies DROP COLUMN nodes")
    cld = "<CLD><Host>127.0.0.1</Host><Port>1</Port></CLD>"
    text = f"<PID>pid</PID><Listen><Port>auto</Port></Listen><TDB>{tmp_path}</TDB>{cld}"
    (tmp_path / "tabled.conf").write_text(text)
    command = [sys.executable, "-m", "haild.tabled", "-F", "-E", "-C", "tabled.conf"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=20, check=False)
    assert ended.returncode == DAMAGED_DATA_STATUS
    assert "bodies.nodes" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
