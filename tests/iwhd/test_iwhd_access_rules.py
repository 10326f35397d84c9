"""The rules of access: what a configuration may say, which addresses and directories it opens, who is let in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haild.iwhd.access import Access, AccessError, NotAllowedError, parse
from haild.iwhd.settings import ProviderSettings
from haild.wire.iwhd.login import authorization


@pytest.mark.parametrize(
    "section",
    [
        [],
        {"host": ["x"]},
        {"hosts": "x"},
        {"hosts": [1]},
        {"hosts": [""]},
        {"paths": ["relative"]},
        {"token": ""},
        {"token": 5},
        {"token": "with\nline"},
        {"user": "u"},
        {"password": "p"},
        {"user": "a:b", "password": "p"},
    ],
)
def test_bad_sections_are_refused(section: Any) -> None:
    with pytest.raises(AccessError, match=r"^here"):
        parse(section, "here")


@pytest.mark.parametrize(
    ("entry", "host", "port"),
    [
        ("tabled", "tabled", 8080),
        ("tabled:8080", "Tabled.", 8080),
        ("*.example.org", "a.b.example.org", 1),
        ("iwhd-*:9090", "iwhd-12", 9090),
        ("10.0.0.0/8", "10.1.2.3", 1),
        ("fd00::/8", "fd00::5", 1),
        ("[fd00::5]:80", "fd00::5", 80),
        ("fd00::5", "fd00::5", 80),
        ("*", "anything", 1),
    ],
)
def test_what_a_list_opens(entry: str, host: str, port: int) -> None:
    assert parse({"providers": [entry]}, "").reaches(host, port)


@pytest.mark.parametrize(
    ("entry", "host", "port"),
    [
        ("tabled", "tabled.evil", 8080),
        ("tabled:8080", "tabled", 8081),
        ("tabled", "tabled:8080", 80),
        ("tabled", "tabled/../x", 80),
        ("tabled", "evil@tabled", 80),
        ("tabled", "tabled#evil", 80),
        ("*.example.org", "example.org", 1),
        ("*.example.org", "evil/.example.org", 1),
        ("*.example.org", "badexample.org", 1),
        ("iwhd-*:9090", "iwhd-1.evil.example", 9090),
        ("iwhd-*:9090", "iwhd-1", 22),
        ("iwhd.1", "iwhdx1", 22),
        ("10.0.0.0/8", "11.1.2.3", 1),
        ("10.0.0.0/8", "localhost", 1),
        ("10.0.0.0/8", "167772161", 1),
        ("127.0.0.1", "127.1", 1),
        ("nonsense/99", "nonsense", 1),
        ("", "x", 1),
    ],
)
def test_what_a_list_does_not_open(entry: str, host: str, port: int) -> None:
    assert not Access(providers=(entry,)).reaches(host, port)


def test_the_configured_places_are_open(tmp_path: Path) -> None:
    configured = [ProviderSettings("p", "s3", "tabled", 8080), ProviderSettings("f", "fs", path=str(tmp_path / "f"))]
    (tmp_path / "f" / "sub").mkdir(parents=True)
    access = Access().with_configured(configured, ("iwhd-1", 9090))
    assert access.reaches("tabled", 8080)
    assert access.reaches("iwhd-1", 9090)
    assert not access.reaches("tabled", 22)
    access.check_path(str(tmp_path / "f" / "sub"), tmp_path / "f" / "_db")


def test_paths(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for directory in ("in/deep", "_db/spool", ".iwhd/uploads"):
        (root / directory).mkdir(parents=True)
    (tmp_path / "rooted").mkdir()
    (root / "link").symlink_to("/etc")
    (root / "in" / "back").symlink_to(root)
    (tmp_path / "other-name").symlink_to(root)
    access = Access(paths=(str(root), str(tmp_path / "other-name")))
    metadata = root / "_db"
    for good in (root, root / "in", root / "in/deep", f"{root}//in/", tmp_path / "other-name" / "in"):
        access.check_path(str(good), metadata)
    bad = [
        *("/etc", "/", "", "in", str(tmp_path), str(tmp_path / "rooted"), f"{root}/../rooted", f"{root}/in/.."),
        *(f"{root}/link", f"{root}/link/ssl", f"{root}/in/back", f"{root}/_db", f"{root}/_db/spool"),
        *(f"{root}/.iwhd", f"{root}/.iwhd/uploads", f"{root}/in\0"),
    ]
    for path in bad:
        with pytest.raises(NotAllowedError):
            access.check_path(path, metadata)


def test_logins() -> None:
    both = parse({"token": "t", "user": "u", "password": "p:q"}, "")
    for good in ("Bearer t", "bearer t", "Basic dTpwOnE=", "BASIC dTpwOnE="):
        assert both.admits(good)
    for bad in (None, "", "Bearer", "Bearer T", "Basic t", "Bearer dTpwOnE=", "Bearer t x", "Bearer \udcff"):
        assert not both.admits(bad)
    assert Access().admits(None)
    assert "p:q" not in repr(both)
    assert both.authorization() == "Bearer t"


@given(st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), min_size=1), st.text())
def test_only_the_login_itself_is_taken(token: str, other: str) -> None:
    access = Access(token=token)
    assert access.admits(authorization("", token))
    assert access.admits(f"Bearer {other}") == (other.strip() == token)
