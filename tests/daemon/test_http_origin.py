"""Requests of foreign pages and for foreign hosts are told from those of programs and of our own pages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haild.http.origin import host_refusal, page_refusal, split_host

ALLOWED = {"iwhd-1", ".example.org"}


@pytest.mark.parametrize(
    "host",
    [
        None,
        *(
            "localhost",
            "LocalHost:9090",
            "bucket.localhost:8080",
            "localhost.",
            "127.0.0.1",
            "127.9.9.9:1",
            "[::1]:9",
        ),
        *("iwhd-1", "IWHD-1:9090", "a.example.org", "172.17.0.2:9090", "[::ffff:127.0.0.1]"),
    ],
)
def test_own_hosts(host: str | None) -> None:
    assert host_refusal(host, ALLOWED, "172.17.0.2") is None


@pytest.mark.parametrize(
    "host",
    [
        *("", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "example.org.evil", "xlocalhost"),
        *("172.17.0.3", "[::2]", "2130706433", "0x7f.1", "127.1", "0.0.0.0", "iwhd-1.evil", "example.org"),
        *(
            "localhost@evil.example",
            "evil.example@localhost",
            "localhost, evil",
            "localhost/x",
            "localhost:x",
            "[::1",
        ),
        *("localhost:99999", "localhost evil", "\xff", "localhost\\evil", "?localhost", "lo\tcalhost"),
    ],
)
def test_foreign_hosts(host: str) -> None:
    assert host_refusal(host, ALLOWED, "172.17.0.2")


@given(st.text())
def test_any_host_is_judged(host: str) -> None:
    split = split_host(host)
    assert split is None or split[0].isascii()
    assert host_refusal(host, {"*"}) is None or split is None


@pytest.mark.parametrize(
    ("host", "origin", "site"),
    [
        ("localhost:9090", None, None),
        ("localhost:9090", "http://localhost:9090", "same-origin"),
        ("LOCALHOST:9090", "HTTP://localhost:9090", None),
        ("localhost", "http://localhost:80", None),
        ("warehouse", "https://warehouse", None),
        ("[::1]:9", "http://[::1]:9", None),
        ("localhost:9090", None, "none"),
        (None, None, None),
    ],
)
def test_own_pages_and_programs(host: str | None, origin: str | None, site: str | None) -> None:
    assert page_refusal(host, origin, site) is None


@pytest.mark.parametrize(
    ("host", "origin", "site"),
    [
        ("localhost:9090", "http://evil.example", None),
        ("localhost:9090", "http://localhost:9091", None),
        ("localhost:9090", "https://localhost", None),
        ("localhost:9090", "null", None),
        ("localhost:9090", "", None),
        ("localhost:9090", "file://", None),
        ("localhost:9090", "http://localhost:9090.evil", None),
        ("localhost:9090", "http://localhost:9090@evil", None),
        ("localhost:9090", "http://localhost:9090 http://evil", None),
        ("localhost:9090", "ftp://localhost:9090", None),
        (None, "http://localhost:9090", None),
        ("localhost:9090", None, "cross-site"),
        ("localhost:9090", None, "same-site"),
        ("localhost:9090", "http://localhost:9090", "Cross-Site"),
        ("localhost:9090", None, "whatever"),
    ],
)
def test_foreign_pages(host: str | None, origin: str | None, site: str | None) -> None:
    assert page_refusal(host, origin, site)


@given(host=st.sampled_from(["localhost:9090", "iwhd-1"]), origin=st.text())
def test_only_the_own_origin_passes(host: str, origin: str) -> None:
    passed = page_refusal(host, origin, None) is None
    assert not passed or origin.strip().lower().removesuffix(":80") in (f"http://{host}", f"https://{host}")
