"""Addresses of the image warehouse (iwhd.md section 4)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haild.wire.iwhd.target import Target, etag_of, is_path_segment, parse_target, path_of


@pytest.mark.parametrize(
    ("raw", "target"),
    [
        ("/", Target("root")),
        ("", Target("root")),
        ("//", Target("root")),
        ("/?x=1", Target("root")),
        ("/_providers", Target("providers")),
        ("/_health", Target("health")),
        ("/_providers/west/", Target("provider", name="west")),
        ("/_providers/_primary", Target("provider", name="_primary")),
        ("/_providers/west/_primary", Target("primary", name="west")),
        ("/b", Target("bucket", "b")),
        ("//b//", Target("bucket", "b")),
        ("/_new", Target("bucket", "_new")),
        ("/b/_query", Target("query", "b")),
        ("/b/k", Target("object", "b", "k")),
        ("/b/k?versions", Target("object", "b", "k")),
        ("/b/%C3%A9%20x", Target("object", "b", "é x")),
        ("/b%2Fk", Target("object", "b", "k")),
        ("http://host:9090/b/k", Target("object", "b", "k")),
        ("/b/k/_attrs", Target("attributes", "b", "k")),
        ("/b/k/color", Target("attribute", "b", "k", "color")),
        ("/b/_default/_policy", Target("attribute", "b", "_default", "_policy")),
        ("/b/" + "k" * 63, Target("object", "b", "k" * 63)),
        ("/b/" + "%C3%A9" * 31, Target("object", "b", "é" * 31)),
        ("/b/..x", Target("object", "b", "..x")),
    ],
)
def test_meaning(raw: str, target: Target) -> None:
    assert parse_target(raw) == target


@pytest.mark.parametrize(
    "raw",
    [
        "/b/k/a/x",
        "/b/" + "k" * 64,
        "/b/" + "%C3%A9" * 32,
        *("/../x", "/b/../../etc/passwd", "/b/..", "/b/.", "/.", "/b/%2e%2e%2fx", "/b/x%2F..%2Fy", "/b/x..%2f"),
        *("/b/k%00", "/b/%ff", "/b/%0a", "/b/%7f", "/b/%ed%a0%80"),
        *("/_health/x", "/_providers/a/b"),
    ],
)
def test_refused(raw: str) -> None:
    assert parse_target(raw) is None


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from(["/", "..", ".", "%2e", "%2F", "%00", "a", "_new", "?", "%", "é", "//"])).map("".join)
    | st.text()
)
def test_no_text_escapes(raw: str) -> None:
    target = parse_target(raw)
    if target is None:
        return
    for name in (target.bucket, target.key, target.name):
        assert name not in (".", "..")
        assert "/" not in name
        assert "\0" not in name
        assert len(name.encode()) <= 63


NAMES = st.text(min_size=1, max_size=15).filter(is_path_segment)


@settings(max_examples=60, deadline=None)
@given(NAMES)
def test_path_is_the_inverse(name: str) -> None:
    assert parse_target(path_of("b", "k", name)) in (
        Target("attribute", "b", "k", name),
        Target("attributes", "b", "k"),
    )


def test_etag() -> None:
    assert etag_of(1.0) == "000000000000f03f"
    assert path_of() == "/"
