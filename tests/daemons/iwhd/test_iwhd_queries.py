"""Costly queries disturb no other request: a real daemon, large attributes, long expressions, clients that leave."""

from __future__ import annotations

import contextlib
import socket
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from haild.iwhd.metadata import records
from support.iwhd_daemon import Answer, Iwhd, eventually, fs, memory_peak, processor_seconds, running

pytestmark = pytest.mark.slow

LARGE = (4 << 20) - 1
COSTLY = "||".join(['$a=="x"'] * 6500)


@pytest.fixture(scope="module")
def iwhd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Iwhd]:
    """A bucket of 600 objects, 40 of them with an attribute of 4 MiB, and one with 20 of these."""
    root: Path = tmp_path_factory.mktemp("iwhd")
    with running(Iwhd(root, [fs(root)])) as daemon:
        assert daemon.request("PUT", "/b").status == 201
        assert daemon.request("PUT", "/b/k", b"body").status == 201
        # Straight into the database: what is tested is the reading.
        with contextlib.closing(sqlite3.connect(root / "_db" / "iwhd.db")) as connection, connection:
            for number in range(600):
                notes = [("notes", b"n" * LARGE)] if number < 40 else []
                records.set_attributes(connection, "b", f"k{number}", [("a", b"1"), *notes])
            records.set_attributes(connection, "b", "many", [(f"n{number}", b"n" * LARGE) for number in range(20)])
        yield daemon


def query(iwhd: Iwhd, expression: str) -> Answer:
    return iwhd.request("POST", "/b/_query", expression)


def test_large_attributes_take_no_memory(iwhd: Iwhd) -> None:
    assert query(iwhd, '$a == "1"').text.count("<key>") == 600
    assert query(iwhd, '$notes == "n"').status == 404
    assert iwhd.request("GET", "/b/many/_attrs").text.count("<object_attr ") == 20
    assert memory_peak(iwhd) < 150 << 20


def test_an_error_says_what_is_too_much(iwhd: Iwhd) -> None:
    answer = query(iwhd, "||".join(f'$n{number}=="x"' for number in range(20)))
    assert (answer.status, "MiB" in answer.text) == (422, True)


@contextlib.contextmanager
def asked(iwhd: Iwhd) -> Iterator[socket.socket]:
    """A connection on which a costly query was sent."""
    head = f"POST /b/_query HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(COSTLY)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", iwhd.port)) as connection:
        connection.sendall(head.encode() + COSTLY.encode())
        yield connection


def test_other_requests_are_served_meanwhile(iwhd: Iwhd) -> None:
    begun = processor_seconds(iwhd)
    with asked(iwhd) as first, asked(iwhd) as second:
        eventually(lambda: processor_seconds(iwhd) > begun + 0.2, "the queries run")
        for _ in range(20):
            assert iwhd.request("GET", "/b/k").body == b"body"
            assert iwhd.request("PUT", "/b/k/color", b"red").status == 201
            assert query(iwhd, '$_key == "k"').status == 200
            for connection in (first, second):
                connection.setblocking(False)
                with pytest.raises(BlockingIOError):
                    connection.recv(1)


def test_work_ends_with_its_client(iwhd: Iwhd) -> None:
    begun = processor_seconds(iwhd)
    with asked(iwhd):
        eventually(lambda: processor_seconds(iwhd) > begun + 0.2, "the query runs")

    def idle() -> bool:
        before = processor_seconds(iwhd)
        assert iwhd.request("GET", "/b/k").status == 200
        time.sleep(0.3)
        return processor_seconds(iwhd) - before < 0.1

    eventually(idle, "the query of a client that left ends", deadline=5)
