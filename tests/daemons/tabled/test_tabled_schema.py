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
from haild.tabled.metadata import schema, users

PINNED = {1: "85064e3d4123ee27a28fbd2a5c7fbbe2783325c7d745fdccf72449d652e0a158"}
"""By version the SHA-256 of its tables. A released version's line never changes: changed tables get a new one."""
DAMAGED_DATA_STATUS = 65


def change(directory: Path, statement: str) -> None:
    """Do something to a new database that this tabled does not do."""
    users.insert(directory / schema.FILE_NAME, [("alice", "sesame")])
    check_database(directory)
    with contextlib.closing(sqlite3.connect(directory / schema.FILE_NAME)) as connection:
        connection.execute(statement)
        connection.commit()


def test_the_tables_are_those_of_their_version() -> None:
    text = " ".join(schema.TABLES.split())
    assert hashlib.sha256(text.encode()).hexdigest() == PINNED[schema.VERSION], "the tables need a new VERSION"


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("ALTER TABLE bodies DROP COLUMN nodes", "bodies.nodes"),
        ("ALTER TABLE bodies ADD COLUMN place TEXT", "bodies.place"),
        ("ALTER TABLE objects RENAME COLUMN etag TO md5", "objects.etag, objects.md5"),
        ("DROP TABLE garbage", "garbage.body, garbage.node"),
        ("PRAGMA user_version = 7", "version 7"),
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
