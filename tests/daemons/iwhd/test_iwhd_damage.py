"""Damaged bodies and attributes are an error that names them, never content. Real daemons."""

from __future__ import annotations

import contextlib
import http.client
import os
import sqlite3
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from haild.iwhd.metadata.schema import SCHEMA, UPGRADES
from support.iwhd_daemon import FORM, Iwhd, eventually, fs, running

pytestmark = pytest.mark.slow

CONTENT = os.urandom(3_000_000)


@pytest.fixture
def iwhd(tmp_path: Path) -> Iterator[Iwhd]:
    with running(Iwhd(tmp_path, [fs(tmp_path), fs(tmp_path, "copy")])) as daemon:
        assert daemon.request("PUT", "/b").status == 201
        assert daemon.request("PUT", "/b/k", CONTENT).status == 201
        yield daemon


def flip(path: Path, offset: int) -> None:
    """Damage one bit, as a disk would: neither size nor time of the file change."""
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 4]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def broken_off(iwhd: Iwhd, path: str, headers: dict[str, str] | None = None) -> bytes:
    """What comes of a body before the connection breaks."""
    connection = http.client.HTTPConnection("127.0.0.1", iwhd.port, timeout=30)
    connection.request("GET", path, headers=headers or {})
    response = connection.getresponse()
    received = b""
    try:
        while block := response.read(65536):
            received += block
    except (http.client.HTTPException, ConnectionError):
        return received
    finally:
        connection.close()
    raise AssertionError("the body came whole")


def test_damage_in_the_beginning(iwhd: Iwhd) -> None:
    assert iwhd.request("GET", "/b/k").body == CONTENT
    flip(iwhd.directory / "primary" / "b" / "k", 100)
    for headers in ({}, {"Range": "bytes=0-10"}):
        answer = iwhd.request("GET", "/b/k", headers=headers)
        assert answer.status == 500
        for part in ("b/k", "primary", str(iwhd.directory), "damaged"):
            assert part in answer.text
    # A part that is whole is still to be had, and a new body is.
    assert iwhd.request("GET", "/b/k", headers={"Range": "bytes=-1000"}).body == CONTENT[-1000:]
    assert iwhd.request("PUT", "/b/k", CONTENT).status == 201
    assert iwhd.request("GET", "/b/k").body == CONTENT


def test_damage_in_the_middle_breaks_off(iwhd: Iwhd) -> None:
    flip(iwhd.directory / "primary" / "b" / "k", 2_500_000)
    received = broken_off(iwhd, "/b/k")
    assert len(received) < 2_500_000
    assert CONTENT.startswith(received)
    assert "b/k" in iwhd.log.read_text()
    assert iwhd.request("GET", "/b/k", headers={"Range": "bytes=2500000-2500000"}).status == 500


def test_a_truncated_body(iwhd: Iwhd) -> None:
    os.truncate(iwhd.directory / "primary" / "b" / "k", 2_000_000)
    answer = iwhd.request("GET", "/b/k")
    assert (answer.status, "2000000 bytes in place of 3000000" in answer.text) == (500, True)


def test_damage_is_not_copied(iwhd: Iwhd) -> None:
    flip(iwhd.directory / "primary" / "b" / "k", 2_500_000)
    assert iwhd.request("PUT", "/b/_default/_policy", b"1").status == 201
    iwhd.request("POST", "/b/k", "op=push", FORM)
    assert iwhd.request("PUT", "/b/good", b"good").status == 201
    eventually(lambda: (iwhd.directory / "copy" / "b" / "good").exists(), "the next one is copied")
    assert not (iwhd.directory / "copy" / "b" / "k").exists()
    assert "damaged" in iwhd.log.read_text()


def test_a_damaged_copy_is_noticed_when_it_is_needed(iwhd: Iwhd) -> None:
    assert iwhd.request("PUT", "/b/_default/_policy", b"1").status == 201
    assert iwhd.request("PUT", "/b/two", CONTENT).status == 201
    copy = iwhd.directory / "copy" / "b" / "two"
    eventually(lambda: iwhd.request("POST", "/b/two", "op=check&depot=copy", FORM).status == 200, "it is copied")
    assert iwhd.request("PUT", "/_providers/copy/_primary").status == 200
    assert iwhd.request("GET", "/b/two").body == CONTENT
    flip(copy, 5)
    answer = iwhd.request("GET", "/b/two")
    assert (answer.status, "provider copy" in answer.text) == (500, True)


def test_damaged_attributes(iwhd: Iwhd) -> None:
    for name in ("color", "other"):
        assert iwhd.request("PUT", f"/b/k/{name}", b"marker-" + name.encode()).status == 201
    iwhd.stop()
    with contextlib.closing(sqlite3.connect(iwhd.directory / "_db" / "iwhd.db")) as connection, connection:
        connection.execute("UPDATE attribute SET value = ? WHERE name = 'color'", (b"marKer-color",))
    iwhd.start()
    answer = iwhd.request("GET", "/b/k/color")
    assert (answer.status, "color of b/k" in answer.text) == (500, True)
    for expression in ('$color == "x"', '$color != "x"'):
        answer = iwhd.request("POST", "/b/_query", expression)
        assert (answer.status, "color of b/k" in answer.text) == (500, True)
    # Nor does it stop anything else: not a policy that names it, not a new body of the object.
    assert iwhd.request("PUT", "/b/_default/_policy", b"$color").status == 201
    assert iwhd.request("PUT", "/b/k", b"new").status == 201
    assert iwhd.request("GET", "/b/k").body == b"new"
    assert iwhd.request("GET", "/b/k/other").text == "marker-other"
    assert iwhd.request("PUT", "/b/k/color", b"red").status == 201
    assert iwhd.request("GET", "/b/k/color").text == "red"


def test_a_file_that_was_put_there_by_hand_is_another_body(iwhd: Iwhd) -> None:
    path = iwhd.directory / "primary" / "b" / "k"
    path.write_bytes(os.urandom(len(CONTENT)))
    assert iwhd.request("GET", "/b/k").status == 500


def test_metadata_of_the_first_version_are_taken_over(tmp_path: Path) -> None:
    """Made by the first version's tables: bodies and attributes without checksums are served as they are."""
    database = tmp_path / "_db" / "iwhd.db"
    database.parent.mkdir()
    columns = [line.split()[5] for line in UPGRADES[1].splitlines() if line]
    first = "\n".join(
        line for line in SCHEMA.splitlines() if not line.strip().startswith(("sums", "upstream", "sum "))
    ).replace("DEFAULT '',\n)", "DEFAULT ''\n)")
    assert set(columns) == {"sums", "upstream", "sum"}
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.executescript(first + "PRAGMA user_version=1;")
        connection.execute("INSERT INTO object VALUES (1, 'b', '_default', NULL, NULL, NULL)")
        connection.execute("INSERT INTO object VALUES (2, 'b', 'k', '0123456789abcdef', 3, 1.5)")
        connection.execute("INSERT INTO location VALUES (2, 'primary')")
        connection.execute("INSERT INTO attribute VALUES (1, 2, 'color', ?)", (b"red",))
    iwhd = Iwhd(tmp_path, [fs(tmp_path)])
    (tmp_path / "primary" / "b").mkdir()
    (tmp_path / "primary" / "b" / "k").write_bytes(b"old")
    with running(iwhd):
        assert iwhd.request("GET", "/b/k").body == b"old"
        assert iwhd.request("GET", "/b/k/color").text == "red"
        assert iwhd.request("POST", "/b/_query", '$color == "red"').status == 200
        assert iwhd.request("PUT", "/b/k", b"new").status == 201
        flip(tmp_path / "primary" / "b" / "k", 1)
        assert iwhd.request("GET", "/b/k").status == 500


def test_scrub_finds_all_of_it(iwhd: Iwhd) -> None:
    for number in range(3):
        assert iwhd.request("PUT", f"/b/o{number}", CONTENT).status == 201
        assert iwhd.request("PUT", f"/b/o{number}/color", b"red").status == 201
    assert iwhd.request("GET", "/b/o1").body == CONTENT
    clean = iwhd.request("POST", "/", "op=scrub", FORM)
    assert (clean.status, clean.text) == (200, "4 bodies and 3 attributes read, 0 damaged, 0 of these mended\n")
    flip(iwhd.directory / "primary" / "b" / "o1", 2_999_999)
    (iwhd.directory / "primary" / "b" / "o2").unlink()
    with contextlib.closing(sqlite3.connect(iwhd.directory / "_db" / "iwhd.db")) as connection, connection:
        connection.execute("UPDATE attribute SET value = ? WHERE value = ? AND object = 4", (b"rot", b"red"))
    *lines, last = iwhd.request("POST", "/", "op=scrub", FORM).text.splitlines()
    assert last == "4 bodies and 3 attributes read, 3 damaged, 0 of these mended"
    assert ["b/o1" in lines[0], "color of b/o1" in lines[1], "o2" in lines[2]] == [True, True, True]


def is_copied(iwhd: Iwhd, key: str) -> bool:
    return iwhd.request("POST", f"/b/{key}", "op=check&depot=copy", FORM).status == 200


def test_scrub_mends_from_a_good_copy(iwhd: Iwhd) -> None:
    assert iwhd.request("PUT", "/b/_default/_policy", b"1").status == 201
    for key in ("rotten", "lost", "both"):
        assert iwhd.request("PUT", f"/b/{key}", CONTENT).status == 201
        eventually(partial(is_copied, iwhd, key), "it is copied")
    primary, copy = (iwhd.directory / name / "b" for name in ("primary", "copy"))
    flip(primary / "rotten", 2_000_000)
    (primary / "lost").unlink()
    flip(primary / "both", 1)
    flip(copy / "both", 2)
    *lines, last = iwhd.request("POST", "/", "op=scrub", FORM).text.splitlines()
    assert last == "4 bodies and 0 attributes read, 3 damaged, 2 of these mended"
    assert ["mended from provider copy" in line for line in lines] == [True, True, False]
    for key in ("rotten", "lost"):
        assert iwhd.request("GET", f"/b/{key}").body == CONTENT
    assert iwhd.request("GET", "/b/both").status == 500
    assert not list((iwhd.directory / "primary" / ".iwhd" / "uploads").iterdir())


def refused(iwhd: Iwhd) -> tuple[int, str]:
    """The exit status and the last line of the log of a daemon that does not start."""
    iwhd.start(wait=False)
    assert iwhd.process is not None
    return iwhd.process.wait(20), iwhd.log.read_text().splitlines()[-1]


@pytest.mark.parametrize("empty", [False, True])
def test_a_database_that_is_gone(iwhd: Iwhd, empty: bool) -> None:
    iwhd.stop()
    database = iwhd.directory / "_db" / "iwhd.db"
    database.unlink()
    if empty:
        database.touch()
    status, said = refused(iwhd)
    assert (status, "is gone" in said) == (65, True)
    (iwhd.directory / "_db" / "witness").unlink()
    iwhd.start()
    assert iwhd.request("GET", "/b").status == 404


def test_metadata_of_a_newer_release(iwhd: Iwhd) -> None:
    iwhd.stop()
    with contextlib.closing(sqlite3.connect(iwhd.directory / "_db" / "iwhd.db")) as connection, connection:
        connection.execute("PRAGMA user_version = 99")
    status, said = refused(iwhd)
    assert (status, "newer release" in said, "nothing is damaged" in said) == (1, True, True)
