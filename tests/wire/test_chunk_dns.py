"""DNS messages for finding CLD: against bytes written out by hand from RFC 1035 and RFC 2782."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haild.wire import dns
from haild.wire.dns import DnsError, Service

QUESTION = b"\x04_cld\x04_udp\x07example\x03com\x00\x00\x21\x00\x01"
QUERY = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + QUESTION
# _cld._udp.example.com. 60 SRV 10 50 8081 host1.example.com., compressed; an unrelated TXT record before it.
ANSWER = (
    b"\x12\x34\x81\x80\x00\x01\x00\x03\x00\x00\x00\x00"
    + QUESTION
    + b"\xc0\x0c\x00\x10\x00\x01\x00\x00\x00\x3c\x00\x03\x02hi"
    + b"\xc0\x0c\x00\x21\x00\x01\x00\x00\x00\x3c\x00\x0e\x00\x0a\x00\x32\x1f\x91\x05host1\xc0\x16"
    + b"\xc0\x0c\x00\x21\x00\x01\x00\x00\x00\x3c\x00\x13\x00\x00\x00\x00\x00\x01\x05other\x04test\x00"
)


def test_the_query() -> None:
    assert dns.encode_query(0x1234, "_cld._udp.example.com") == QUERY
    assert dns.encode_query(0x1234, "_cld._udp.example.com.") == QUERY


@pytest.mark.parametrize("name", ["", "a..b", "x" * 64, ".".join(["x" * 60] * 5)])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(ValueError):
        dns.encode_query(1, name)


def test_the_answer() -> None:
    assert dns.decode_answer(0x1234, ANSWER) == [
        Service(10, 50, 8081, "host1.example.com"),
        Service(0, 0, 1, "other.test"),
    ]


def test_no_such_name_is_no_server() -> None:
    assert dns.decode_answer(0x1234, b"\x12\x34\x81\x83\x00\x01" + bytes(6) + QUESTION) == []


@pytest.mark.parametrize(
    "data",
    [
        ANSWER[:-1],
        ANSWER[:40],
        b"",
        b"\x12\x35" + ANSWER[2:],
        QUERY,
        b"\x12\x34\x83\x80" + ANSWER[4:],
        b"\x12\x34\x81\x82" + ANSWER[4:],
        ANSWER[:12] + b"\xc0\x0c" + ANSWER[14:],
    ],
    ids=["cut", "shorter", "empty", "number", "query", "truncated", "server failure", "endless name"],
)
def test_answers_that_cannot_be_used(data: bytes) -> None:
    with pytest.raises(DnsError):
        dns.decode_answer(0x1234, data)


@given(st.integers(0, len(ANSWER) - 1), st.binary(max_size=40))
@settings(max_examples=100, deadline=None)
def test_no_bytes_break_the_decoder(position: int, replacement: bytes) -> None:
    with contextlib.suppress(DnsError):
        dns.decode_answer(0x1234, ANSWER[:position] + replacement + ANSWER[position + len(replacement) :])
