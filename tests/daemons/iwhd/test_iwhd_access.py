"""What strangers get from a warehouse: pages, hosts, added providers, logins. Real daemons."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from hailbox.probe import iwhd as probe
from support.iwhd_daemon import FORM, Iwhd, eventually, fs, running
from support.ports import free_port


@pytest.fixture(scope="module")
def iwhd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Iwhd]:
    root = tmp_path_factory.mktemp("iwhd")
    s3 = {"name": "s3", "type": "s3", "host": "127.0.0.1", "port": free_port(), "key": "KEY", "secret": "HUSH"}
    with running(Iwhd(root, [fs(root), s3], access={"hosts": ["warehouse.example"]})) as daemon:
        assert daemon.request("PUT", "/b").status == 201
        assert daemon.request("PUT", "/b/k", b"body").status == 201
        yield daemon


REQUESTS = [
    *(
        ("GET", "/"),
        ("GET", "/_providers"),
        ("GET", "/b/k"),
        ("HEAD", "/b/k"),
        ("GET", "/_health"),
        ("GET", "/nothing"),
    ),
    *(
        ("PUT", "/b/k"),
        ("PUT", "/b/k/a"),
        ("POST", "/b/_query"),
        ("POST", "/_providers/x"),
        ("PUT", "/_providers/s3/_primary"),
    ),
    *(("DELETE", "/b/k"), ("POST", "/b"), ("POST", "/")),
]


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example:9090"},
        {"Host": "evil.example", "Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"},
    ],
)
def test_foreign_pages_and_hosts_get_nothing(iwhd: Iwhd, headers: dict[str, str]) -> None:
    for method, path in REQUESTS:
        answer = iwhd.request(method, path, b"op=rep_status", FORM | headers)
        assert answer.status == 403, (method, path)
        assert b"body" not in answer.body
    assert iwhd.request("GET", "/b/k").body == b"body"
    assert iwhd.request("GET", "/_providers/_primary").text == "primary"


def test_the_driver_sees_that_nobody_logs_in(iwhd: Iwhd) -> None:
    assert probe.is_open("127.0.0.1", iwhd.port)


def test_two_hosts_are_none(iwhd: Iwhd) -> None:
    request = b"GET /b/k HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
    assert iwhd.raw(request).split(b" ")[1] in (b"400", b"403")


@pytest.mark.parametrize("host", ["localhost", "warehouse.example:80", "127.0.0.1", os.uname().nodename])
def test_own_names_and_pages(iwhd: Iwhd, host: str) -> None:
    for more in ({}, {"Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}):
        assert iwhd.request("GET", "/b/k", headers={"Host": host, **more}).body == b"body"
    assert iwhd.raw(b"GET /b/k HTTP/1.0\r\n\r\n").endswith(b"\r\n\r\nbody")


def test_configured_credentials_are_not_shown(iwhd: Iwhd) -> None:
    for accept in ("", "application/json"):
        text = iwhd.request("GET", "/_providers", headers={"Accept": accept}).text
        assert "s3" in text
        assert "KEY" not in text
        assert "HUSH" not in text
    # Nor can they be found out by comparing: a policy that would copy if the secret were there copies nothing.
    queued = iwhd.request("POST", "/", "op=rep_status", FORM).text  # the bucket itself
    for policy in ('#secret == "HUSH"', '#secret >= "A"', "#secret"):
        iwhd.request("POST", "/b/k", f"op=push&_policy={policy.replace(' ', '+').replace('#', '%23')}", FORM)
        assert iwhd.request("POST", "/", "op=rep_status", FORM).text == queued
    iwhd.request("POST", "/b/k", "op=push&_policy=%23name%3d%3d%22s3%22", FORM)
    assert iwhd.request("POST", "/", "op=rep_status", FORM).text != queued


def test_added_providers_stay_where_they_may(iwhd: Iwhd) -> None:
    inside = iwhd.directory / "primary" / "inside"
    inside.mkdir()
    (iwhd.directory / "primary" / "link").symlink_to("/etc")
    bad = ["/etc", "/proc", "/", f"{iwhd.directory}", f"{inside}/../..", f"{iwhd.directory}/primary/link"]
    bad += [f"{iwhd.directory}/_db", f"{iwhd.directory}/primary/.iwhd/uploads", "primary"]
    for path in bad:
        answer = iwhd.request("POST", "/_providers/x", f"type=fs&port=1&path={path}", FORM)
        assert (answer.status, "access.paths" in answer.text or "own files" in answer.text) == (403, True), path
    for host in ("127.0.0.1", "169.254.169.254", "localhost", "iwhd.evil"):
        for kind in ("type=s3&key=k&secret=s", "type=http", "type=cf&key=k&secret=s"):
            answer = iwhd.request("POST", "/_providers/primary", f"{kind}&host={host}&port=9", FORM)
            assert (answer.status, "access.providers" in answer.text) == (403, True), (host, kind)
    assert iwhd.request("POST", "/_providers/x", f"type=fs&port=1&path={inside}", FORM).status == 200
    assert iwhd.request("GET", "/_providers/_primary").text == "primary"


def test_bucket_links_are_not_followed_for_clients(iwhd: Iwhd) -> None:
    inside = iwhd.directory / "primary" / "linked"
    inside.mkdir()
    (inside / "b").symlink_to(iwhd.directory)
    assert iwhd.request("POST", "/_providers/linked", f"type=fs&port=1&path={inside}", FORM).status == 200
    assert iwhd.request("PUT", "/b/conf.js", b"mine").status == 201
    assert iwhd.request("PUT", "/_providers/linked/_primary").status == 200
    try:
        answer = iwhd.request("GET", "/b/conf.js")
        assert b"HUSH" not in answer.body
        assert answer.status == 500
    finally:
        assert iwhd.request("PUT", "/_providers/primary/_primary").status == 200


def test_refusals_are_plain_text(iwhd: Iwhd) -> None:
    path = "/_providers/x"
    answer = iwhd.request("POST", path, "type=fs&port=1&path=/%1b[2J%c2%9b%e2%80%ae", FORM)
    assert answer.status in (400, 403)
    assert answer.text.isprintable() or answer.text.rstrip("\n").isprintable()
    name = "%c2%9b31m%e2%80%ae"
    assert iwhd.request("PUT", f"/{name}").status == 201
    assert iwhd.request("PUT", f"/{name}/k", b"x").status == 201
    text = iwhd.request("DELETE", f"/{name}").text
    assert "not empty" in text
    assert text.rstrip("\n").isprintable()
    assert iwhd.request("PUT", f"/none{name}/k", b"x").status == 500
    log = iwhd.log.read_text()
    assert "\\x9b31m\\u202e" in log
    assert all(line.isprintable() for line in log.split("\n"))


@pytest.mark.parametrize("beside", [False, True])
def test_login(tmp_path: Path, beside: bool) -> None:
    access = {"token": "open sesame", "user": "ann", "password": "pw"}
    iwhd = Iwhd(tmp_path, [fs(tmp_path)], access=None if beside else access)
    if beside:
        (tmp_path / "access.json").write_text(json.dumps(access))
    with running(iwhd):
        eventually(lambda: iwhd.request("GET", "/_health").status == 200, "it works")
        for method, path in REQUESTS:
            if path == "/_health":
                continue
            for header in ({}, {"Authorization": "Bearer x"}, {"Authorization": "OAuth x"}):
                answer = iwhd.request(method, path, b"x", FORM | header)
                assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, 'Basic realm="iwhd"'), path
        for header in ("Bearer open sesame", "Basic YW5uOnB3"):
            assert iwhd.request("PUT", "/b", headers={"Authorization": header}).status in (201, 500)
            assert iwhd.request("GET", "/b", headers={"Authorization": header}).status == 200
        assert not probe.is_open("127.0.0.1", iwhd.port)
    assert not probe.is_open("127.0.0.1", iwhd.port)


def test_rules_in_both_places_are_joined(tmp_path: Path) -> None:
    iwhd = Iwhd(tmp_path, [fs(tmp_path)], access={"hosts": ["one"], "token": "t"})
    (tmp_path / "access.json").write_text('{"hosts": ["two"], "token": "u"}')
    with running(iwhd):
        for host in ("one", "two"):
            assert iwhd.request("GET", "/", headers={"Host": host, "Authorization": "Bearer t"}).status == 200
        assert iwhd.request("GET", "/", headers={"Authorization": "Bearer u"}).status == 401


def test_sites_with_a_login_work_together(tmp_path: Path) -> None:
    """The first copies to the second with the login of its provider; the second fetches with its own."""
    access = {"user": "ann", "password": "pw"}
    login = {"Authorization": "Basic YW5uOnB3"}
    second = Iwhd(tmp_path / "second", [fs(tmp_path, "second")], access=access)
    peer = {"name": "peer", "type": "http", "host": "127.0.0.1", "port": second.port, "key": "ann", "secret": "pw"}
    first = Iwhd(tmp_path / "first", [fs(tmp_path, "first"), peer], access=access)
    second.arguments += ["-m", f"127.0.0.1:{first.port}"]
    with running(first), running(second):
        for path, body in (("/b", None), ("/b/fetched", b"1"), ("/b/_default/_policy", b"1"), ("/b/sent", b"2")):
            assert first.request("PUT", path, body, login).status == 201
        eventually(lambda: second.request("GET", "/b/sent/_etag", headers=login).status == 200, "the copy is there")
        assert second.request("GET", "/b/sent", headers=login).body == b"2"
        assert second.request("GET", "/b/fetched", headers=login).body == b"1"
        assert second.request("GET", "/b/sent").status == 401
