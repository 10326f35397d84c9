"""The REST interface of iwhd as its clients see it, on a real daemon with a directory as primary."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from haild.iwhd.metadata import records
from support.iwhd_daemon import FORM, Answer, Iwhd, eventually, fs, memory_peak, running

UUID = "0b9a7f6c-1d1e-4a4e-9f4e-6f2d6b7d1a11"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("iwhd")


@pytest.fixture(scope="module")
def iwhd(root: Path) -> Iterator[Iwhd]:
    with running(Iwhd(root, [fs(root), fs(root, "second")], access={"hosts": ["elsewhere"]})) as daemon:
        yield daemon
        assert "Traceback" not in daemon.log.read_text()


@pytest.fixture
def bucket(iwhd: Iwhd, request: pytest.FixtureRequest) -> str:
    name = f"b-{abs(hash(request.node.name)):x}"
    assert iwhd.request("PUT", f"/{name}").status == 201
    return name


def status(iwhd: Iwhd, method: str, path: str, body: bytes | str | None = None, **headers: str) -> int:
    return iwhd.request(method, path, body, headers).status


def test_root_lists_buckets_in_order(iwhd: Iwhd, bucket: str) -> None:
    host = f"http://127.0.0.1:{iwhd.port}"
    text = iwhd.request("GET", "/").text
    assert text.startswith('<api service="image_warehouse" version="0.96">\n\t<link rel="bucket_factory"')
    assert f'\t<link rel="bucket" href="{host}/{bucket}"/>\n' in text
    answer = iwhd.request("GET", "/", headers={"Accept": "text/html, application/json", "Host": "elsewhere:1"})
    links = json.loads(answer.body)["providers"]
    assert links[:2] == [
        {"rel": "bucket_factory", "link": "http://elsewhere:1/_new"},
        {"rel": "provider_list", "link": "http://elsewhere:1/_providers"},
    ]
    assert {"rel": "bucket", "link": f"http://elsewhere:1/{bucket}"} in links


def test_bucket_life(iwhd: Iwhd, root: Path) -> None:
    assert status(iwhd, "PUT", "/life") == 201
    assert (root / "primary" / "life").is_dir()
    assert (root / "primary" / "life").stat().st_mode & 0o777 == 0o750
    assert status(iwhd, "PUT", "/life") == 500
    assert iwhd.request("POST", "/_new", "name=life2", FORM).status == 201
    assert iwhd.request("POST", "/_new", "", FORM).status == 400
    assert iwhd.request("POST", "/_new", "name=..%2Fx", FORM).status == 400
    assert iwhd.request("GET", "/life").text == "<objects>\n</objects>\n"
    assert iwhd.request("GET", "/life/_default/_policy").text == "0"
    assert status(iwhd, "PUT", "/life/k") == 201
    assert status(iwhd, "DELETE", "/life") == 409
    assert status(iwhd, "DELETE", "/life/k") == 200
    assert status(iwhd, "DELETE", "/life") == 200
    assert status(iwhd, "DELETE", "/life") == 404
    assert status(iwhd, "GET", "/life") == 404
    assert not (root / "primary" / "life").exists()


@pytest.mark.parametrize("name", ["_new", "_default", "_policy", "_query", "_health"])
def test_reserved_bucket(iwhd: Iwhd, name: str) -> None:
    assert status(iwhd, "PUT", f"/{name}") == (404 if name == "_health" else 400)


def test_a_directory_made_by_hand_becomes_a_bucket(iwhd: Iwhd, root: Path) -> None:
    (root / "primary" / "byhand").mkdir()
    assert status(iwhd, "PUT", "/byhand") == 500
    assert status(iwhd, "GET", "/byhand") == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/b/_query"),
        ("PUT", "/b/_query"),
        ("PUT", "/b/k/_attrs"),
        ("POST", "/b/k/_attrs"),
        ("POST", "/_providers"),
        ("PUT", "/_providers"),
        ("PUT", "/"),
        ("DELETE", "/"),
        ("PATCH", "/b/k"),
        ("OPTIONS", "/"),
        ("GET", "/b/k/a/b"),
        ("GET", "/" + "x" * 64),
        ("GET", "/nobucket"),
        ("GET", "/nobucket/key"),
        ("GET", "/nobucket/key/name"),
        ("DELETE", "/nobucket/key"),
    ],
)
def test_everything_else_is_404_and_empty(iwhd: Iwhd, method: str, path: str) -> None:
    answer = iwhd.request(method, path)
    assert (answer.status, answer.body) == (404, b"")


def test_object_life(iwhd: Iwhd, bucket: str, root: Path) -> None:
    path = f"/{bucket}/{UUID}"
    put = iwhd.request("PUT", path, b"content")
    assert (put.status, put.body) == (201, b"")
    assert len(put.headers["ETag"]) == 16
    assert (root / "primary" / bucket / UUID).read_bytes() == b"content"
    get = iwhd.request("GET", path)
    assert (get.status, get.body) == (200, b"content")
    assert get.headers["Transfer-Encoding"] == "chunked"
    assert "Content-Length" not in get.headers
    assert iwhd.request("GET", path, headers={"If-None-Match": put.headers["ETag"]}).status == 304
    assert iwhd.request("GET", path, headers={"If-None-Match": f'"{put.headers["ETag"]}"'}).status == 304
    assert iwhd.request("GET", f"{path}/_etag").text == put.headers["ETag"]
    again = iwhd.request("PUT", path, b"other")
    assert again.headers["ETag"] != put.headers["ETag"]
    assert iwhd.request("GET", path).body == b"other"
    head = iwhd.request("HEAD", path)
    assert (head.status, head.headers["Content-Length"], head.body) == (200, "5", b"")
    delete = iwhd.request("DELETE", path)
    assert (delete.status, delete.body) == (200, b"")
    assert [status(iwhd, method, path) for method in ("DELETE", "GET", "HEAD")] == [404, 404, 404]


def test_put_without_a_body_stores_an_empty_object(iwhd: Iwhd, bucket: str) -> None:
    answer = iwhd.raw(b"PUT /%b/empty HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" % bucket.encode())
    assert answer.startswith(b"HTTP/1.1 201 ")
    get = iwhd.request("GET", f"/{bucket}/empty")
    assert (get.status, get.body) == (200, b"")


def test_put_is_refused_early(iwhd: Iwhd, bucket: str) -> None:
    assert status(iwhd, "PUT", f"/{bucket}/k", b"x", **{"X-redhat-role": "master"}) == 403
    assert status(iwhd, "PUT", f"/{bucket}/_default", b"x") == 403
    assert status(iwhd, "PUT", "/nobucket/k", b"x") == 500
    head = b"PUT /nobucket/k HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    head += b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n"
    assert iwhd.raw(head).startswith(b"HTTP/1.1 500 ")
    with socket.create_connection(("127.0.0.1", iwhd.port), 30) as connection:
        connection.sendall(head.replace(b"nobucket", bucket.encode()))
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"hello")
        assert connection.recv(100).startswith(b"HTTP/1.1 201 ")
    assert iwhd.request("GET", f"/{bucket}/k", headers={"Expect": "100-continue"}).body == b"hello"


def test_chunked_put_of_any_size_streams(iwhd: Iwhd, bucket: str) -> None:
    block = os.urandom(1 << 20)
    put = iwhd.request(
        "PUT", f"/{bucket}/big", iter([block] * 40), encode_chunked=True, headers={"Transfer-Encoding": "chunked"}
    )
    assert put.status == 201
    assert iwhd.request("GET", f"/{bucket}/big").body == block * 40
    assert memory_peak(iwhd) < 100 << 20


def test_an_aborted_upload_leaves_no_trace(iwhd: Iwhd, bucket: str, root: Path) -> None:
    assert status(iwhd, "PUT", f"/{bucket}/k", b"old") == 201
    for request in (
        b"PUT /%b/%b HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nnew",
        b"PUT /%b/%b HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nnew",
        b"PUT /%b/%b HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nnew",
    ):
        for key in (b"k", b"fresh"):
            assert b" 201 " not in iwhd.raw(request % (bucket.encode(), key), leave=True)
    assert iwhd.request("GET", f"/{bucket}/k").body == b"old"
    assert status(iwhd, "GET", f"/{bucket}/fresh") == 404
    uploads = root / "primary" / ".iwhd" / "uploads"
    eventually(lambda: list(uploads.iterdir()) == [], "the file of the last upload is removed")
    assert "fresh" not in iwhd.request("GET", f"/{bucket}").text


def test_a_client_of_http_1_0(iwhd: Iwhd, bucket: str) -> None:
    assert status(iwhd, "PUT", f"/{bucket}/k", b"x" * 100_000) == 201
    head, _, body = iwhd.raw(b"GET /%b/k HTTP/1.0\r\n\r\n" % bucket.encode()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 200 ")
    assert b"Transfer-Encoding" not in head
    assert body == b"x" * 100_000


def test_attributes(iwhd: Iwhd, bucket: str) -> None:
    path = f"/{bucket}/k"
    # Attributes can precede the body; form-like text is a value like any other.
    assert status(iwhd, "PUT", f"{path}/color", "blue", **{"Content-Type": "text/plain"}) == 201
    assert status(iwhd, "PUT", f"{path}/provider_account_identifier", "a=1&b=%20") == 201
    assert status(iwhd, "PUT", f"{path}/raw", b"\xff\x80a\0b") == 201
    assert status(iwhd, "PUT", f"{path}/empty", b"") == 201
    assert status(iwhd, "PUT", f"{path}/a.b$c", b"dotted") == 201
    assert status(iwhd, "PUT", f"{path}/header", **{"X-redhat-value": "from header"}) == 201
    values = {
        name: iwhd.request("GET", f"{path}/{name}") for name in ("color", "raw", "empty", "a.b$c", "header", "none")
    }
    assert {name: answer.body for name, answer in values.items() if answer.status == 200} == {
        "color": b"blue",
        "raw": b"\xff\x80a",
        "a.b$c": b"dotted",
        "header": b"from header",
    }
    assert values["color"].headers["Content-Length"] == "4"
    assert iwhd.request("GET", f"{path}/provider_account_identifier").body == b"a=1&b=%20"
    assert [status(iwhd, "GET", f"{path}/{name}") for name in ("_date", "_size", "_loc")] == [404] * 3
    assert iwhd.request("GET", f"{path}/_bucket").text == bucket
    for name in ("_bucket", "_date", "_etag", "_key", "_loc", "_size"):
        assert status(iwhd, "PUT", f"{path}/{name}", "x") == 400
        assert status(iwhd, "PUT", f"{path}/{name}", **{"X-redhat-value": "x"}) == 400
    assert status(iwhd, "GET", path) == 404
    assert "<key>k</key>" in iwhd.request("GET", f"/{bucket}").text
    assert status(iwhd, "PUT", path, b"body") == 201
    assert iwhd.request("GET", f"{path}/color").body == b"blue"
    assert status(iwhd, "DELETE", f"{path}/color") == 200
    assert status(iwhd, "DELETE", f"{path}/color") == 404
    assert status(iwhd, "GET", f"{path}/color") == 404
    assert status(iwhd, "DELETE", path) == 200
    assert status(iwhd, "GET", f"{path}/raw") == 404


def test_attributes_alone_can_be_deleted(iwhd: Iwhd, bucket: str) -> None:
    assert status(iwhd, "PUT", f"/{bucket}/k/color", "blue") == 201
    assert status(iwhd, "DELETE", f"/{bucket}/k") == 200
    assert status(iwhd, "DELETE", f"/{bucket}/_default") == 404
    assert status(iwhd, "GET", f"/{bucket}") == 200


def test_attribute_lists(iwhd: Iwhd, bucket: str) -> None:
    path = f"/{bucket}/k"
    assert status(iwhd, "GET", f"{path}/_attrs") == 404
    for name in ("z", "a", "_policy", "z"):
        assert status(iwhd, "PUT", f"{path}/{name}", "1") == 201
    base = f"http://127.0.0.1:{iwhd.port}{path}"
    listed = iwhd.request("GET", f"{path}/_attrs").text
    assert listed == iwhd.request("POST", path, "op=parts", FORM).text
    assert [line.split('"')[1] for line in listed.splitlines() if "object_attr " in line] == ["z", "a", "_policy"]
    assert json.loads(iwhd.request("GET", f"{path}/_attrs", headers={"Accept": "application/json"}).body) == {
        "object_body": base,
        "object_attr_list": f"{base}/_attrs",
        "attr_z": f"{base}/z",
        "attr_a": f"{base}/a",
        "attr__policy": f"{base}/_policy",
    }


def test_many_attributes_at_once(iwhd: Iwhd, bucket: str) -> None:
    post = lambda body, headers=FORM: iwhd.request("POST", f"/{bucket}", body, headers).status  # noqa: E731
    assert post("_key=k&color=red&size=" + "9" * 5000) == 200
    assert iwhd.request("GET", f"/{bucket}/k/color").text == "red"
    assert len(iwhd.request("GET", f"/{bucket}/k/size").body) == 5000
    assert post("color=red") == 400
    assert post("_key=k2&color=red&_size=1") == 400
    assert status(iwhd, "GET", f"/{bucket}/k2/color") == 404
    assert post("_key=" + "k" * 70 + "&a=b") == 200
    assert iwhd.request("GET", f"/{bucket}/{'k' * 63}/a").text == "b"
    assert post("_key=..%2F..%2Fx&a=b") == 400
    assert post("x", {"Content-Type": "text/plain"}) == 415
    parts = '--X\r\nContent-Disposition: form-data; name="{}"\r\n\r\n{}\r\n'
    body = parts.format("_key", "m") + parts.format("color", "green") + "--X--\r\n"
    assert post(body, {"Content-Type": "multipart/form-data; boundary=X"}) == 200
    assert iwhd.request("GET", f"/{bucket}/m/color").text == "green"


def query(iwhd: Iwhd, bucket: str, expression: str) -> Answer:
    return iwhd.request("POST", f"/{bucket}/_query", expression, FORM)


def keys(answer: Answer) -> list[str]:
    return [line.strip()[5:-6] for line in answer.text.splitlines() if "<key>" in line]


def test_queries(iwhd: Iwhd, bucket: str) -> None:
    for key, build, target in (("one", UUID, "mock"), ("two", UUID, "ec2"), ("three", "other", "mock")):
        body = f"_key={key}&build={build}&target_image={target}&parent={bucket}/one"
        assert iwhd.request("POST", f"/{bucket}", body, FORM).status == 200
    assert keys(query(iwhd, bucket, f'($build == "{UUID}")')) == ["one", "two"]
    assert keys(query(iwhd, bucket, f'($build == "{UUID}" && $target_image == "mock")')) == ["one"]
    assert keys(query(iwhd, bucket, '$parent.target_image == "mock" && $build == "other"')) == ["three"]
    assert keys(query(iwhd, bucket, '$_key == "two"')) == ["two"]
    assert json.loads(
        iwhd.request("POST", f"/{bucket}/_query", '$_key == "two"', {"Accept": "application/json"}).body
    ) == [{"bucket": bucket, "key": "two"}]
    none = query(iwhd, bucket, '$build == "nothing"')
    assert (none.status, none.body) == (404, b"")
    assert query(iwhd, bucket, "this is @ no expression").status == 404
    assert query(iwhd, bucket, '#name == "primary"').status == 404
    assert query(iwhd, bucket, "").status == 400
    # Only the bucket's own record matches: found, and nothing to show.
    assert query(iwhd, bucket, '$_key == "_default"').text == "<objects>\n</objects>\n"
    assert query(iwhd, "nobucket", "1").status == 404


def test_long_lists_are_paged(iwhd: Iwhd, bucket: str, root: Path) -> None:
    # Straight into the database: what is tested is the reading.
    with contextlib.closing(sqlite3.connect(root / "_db" / "iwhd.db")) as connection, connection:
        for number in range(1100):
            attributes = [("even", b"%d" % (1 - number % 2))]
            records.set_attributes(connection, bucket, f"k{number:04}", attributes)
    assert keys(iwhd.request("GET", f"/{bucket}")) == [f"k{number:04}" for number in range(1100)]
    assert keys(query(iwhd, bucket, "$even == 1")) == [f"k{number:04}" for number in range(0, 1100, 2)]
    assert keys(query(iwhd, bucket, '$_key == "k1099"')) == ["k1099"]
    listed = json.loads(iwhd.request("GET", f"/{bucket}", headers={"Accept": "x/json"}).body)
    assert [entry["key"] for entry in listed] == [f"k{number:04}" for number in range(1100)]


def test_providers(iwhd: Iwhd, root: Path) -> None:
    assert iwhd.request("GET", "/_providers/_primary").text == "primary"
    assert status(iwhd, "GET", "/_providers/primary") == 400
    listed = json.loads(iwhd.request("GET", "/_providers", headers={"Accept": "application/json"}).body)
    assert [entry["name"] for entry in listed] == ["primary", "second"]
    assert iwhd.request("GET", "/_providers").text.startswith(
        '<providers>\n\t<provider name="primary">\n\t\t<type>fs'
    )


def test_control_operations(iwhd: Iwhd, bucket: str) -> None:
    post = lambda path, body: iwhd.request("POST", path, body, FORM)  # noqa: E731
    assert post("/", "op=rep_status").text.endswith(" requests\n")
    assert (post("/", "op=x").status, post("/", "op=x").text) == (400, "unknown op")
    assert (post("/", "").status, post("/", "").text) == (400, "missing op")
    assert status(iwhd, "PUT", f"/{bucket}/k", b"x") == 201
    assert post(f"/{bucket}/k", "op=push").status == 200
    assert post(f"/{bucket}/k", "op=check").status == 400
    assert post(f"/{bucket}/k", "op=check&depot=primary").status == 200
    assert post(f"/{bucket}/k", "op=check&depot=second").status == 404
    assert post(f"/{bucket}/none", "op=check&depot=primary").status == 404
    assert post(f"/{bucket}/k", "op=fly").status == 400
    assert post(f"/{bucket}/k", "").status == 400
    assert post(f"/{bucket}/k", "op=push&_size=1").status == 400


def test_health_leaves_nothing(iwhd: Iwhd, root: Path) -> None:
    before = sorted(path.name for path in (root / "primary").iterdir())
    answer = iwhd.request("GET", "/_health")
    assert (answer.status, answer.text) == (200, "ok\n")
    assert sorted(path.name for path in (root / "primary").iterdir()) == before


def test_no_path_leads_out_of_the_store(iwhd: Iwhd, bucket: str, root: Path) -> None:
    (root / "outside").write_text("secret")
    for path in ("//outside", "/../outside", f"/{bucket}/..%2F..%2Foutside", f"/{bucket}/%2e%2e/outside"):
        for method in (b"GET", b"PUT", b"DELETE"):
            request = b"%b %b HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx"
            answer = iwhd.raw(request % (method, path.encode()))
            assert answer.split()[1] in (b"404", b"201", b"500", b"200")
            assert b"secret" not in answer
    for path in ("/.iwhd", "/.iwhd/uploads", f"//{root}/outside", f"/{bucket}/x%00y"):
        assert status(iwhd, "GET", path) == 404
    assert status(iwhd, "PUT", "/.iwhd/k", b"x") == 500
    assert (root / "outside").read_text() == "secret"


def test_no_http_closes_only_that_connection(iwhd: Iwhd) -> None:
    for data in (b"\0\xff\r\n\r\n", b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n"):
        assert b" 400 " in iwhd.raw(data)
    assert iwhd.raw(b"", leave=True) == b""
    assert status(iwhd, "GET", "/") == 200
