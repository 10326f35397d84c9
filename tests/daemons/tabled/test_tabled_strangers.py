"""Foreign web pages and foreign hosts get nothing that is not signed; what S3 lets pages do stays as it was."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from support.ports import free_port
from support.tabledrequests import signed_v2
from support.tabledstack import Stack, bucket_of, serving, wait_for

PAGE = {"Origin": "https://evil.example"}
FOREIGN: list[dict[str, str]] = [
    PAGE,
    {"Origin": "null"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Host": "evil.example"},
    {"Host": "evil.example:8080", "Origin": "http://evil.example:8080", "Sec-Fetch-Site": "same-origin"},
    {"Host": "\x00\xff"[1:]},
]
OWN: list[dict[str, str]] = [
    {},
    {"Host": "s3.local"},
    {"Host": "S3.LOCAL:80"},
    {"Host": "[::1]:8080"},
    {"Host": "friend.example"},
    {"Host": "localhost:8080", "Origin": "http://localhost:8080", "Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "none"},
    {"Origin": "foo.bar"},
]


@pytest.fixture(scope="module")
def status_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, status_port: int) -> Iterator[Stack]:
    settings = f"<StatusPort>{status_port}</StatusPort><AllowHost>friend.example</AllowHost>"
    with serving(tmp_path_factory.mktemp("strangers"), settings=settings) as stack:
        yield stack


@pytest.fixture
def bucket(s3: Any, request: pytest.FixtureRequest) -> str:
    """One that anybody may read and write."""
    name = bucket_of(s3, request)
    s3.put_bucket_acl(Bucket=name, ACL="public-read-write")
    s3.put_object(Bucket=name, Key="k", Body=b"hello", ACL="public-read")
    return name


def status(port: int, method: str, target: str, headers: dict[str, str], body: bytes = b"") -> int:
    every = {"Host": "127.0.0.1", "Content-Length": str(len(body)), "Connection": "close"} | headers
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in every.items()), "", ""]
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall("\r\n".join(lines).encode("latin-1") + body)
        return int(client.makefile("rb").readline().split()[1])


@pytest.mark.parametrize("headers", FOREIGN)
def test_what_is_not_signed_is_refused_to_strangers(stack: Stack, bucket: str, headers: dict[str, str]) -> None:
    port = stack.tabled.port
    for method, target in (("GET", f"/{bucket}/k"), ("HEAD", f"/{bucket}/k"), ("GET", f"/{bucket}")):
        assert status(port, method, target, headers) in (400, 403)
    assert status(port, "PUT", f"/{bucket}/new", headers, b"x") in (400, 403)
    assert status(port, "DELETE", f"/{bucket}/k", headers) in (400, 403)
    assert status(port, "POST", f"/{bucket}?delete", headers, b"<Delete/>") in (400, 403)


@pytest.mark.parametrize("headers", OWN)
def test_clients_that_are_no_pages_are_served(stack: Stack, bucket: str, headers: dict[str, str]) -> None:
    assert status(stack.tabled.port, "GET", f"/{bucket}/k", headers) == 200
    assert status(stack.tabled.port, "PUT", f"/{bucket}/new", headers, b"x") == 200


@pytest.mark.parametrize("headers", FOREIGN[:5])
def test_who_signs_is_no_stranger(stack: Stack, s3: Any, bucket: str, headers: dict[str, str]) -> None:
    target = f"/{bucket}/k"
    assert status(stack.tabled.port, "GET", target, headers | signed_v2("GET", target)) == 200
    if "Host" not in headers:
        url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})
        assert requests.get(url, headers=headers, timeout=5).content == b"hello"


def test_pages_that_the_bucket_allows(stack: Stack, s3: Any, bucket: str) -> None:
    rule = {"AllowedOrigins": ["https://app.example"], "AllowedMethods": ["GET"]}
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule]})
    page = {"Origin": "https://app.example", "Sec-Fetch-Site": "cross-site"}
    port = stack.tabled.port
    assert status(port, "GET", f"/{bucket}/k", page) == 200
    assert status(port, "GET", "/k", page | {"Host": f"{bucket}.s3.local"}) == 200
    assert status(port, "PUT", f"/{bucket}/new", page, b"x") == 403
    assert status(port, "GET", f"/{bucket}/k", PAGE) == 403
    assert status(port, "GET", f"/{bucket}/k", page | {"Host": "evil.example"}) == 403


@pytest.mark.parametrize("headers", [PAGE, {"Sec-Fetch-Site": "cross-site"}])
def test_forms_of_foreign_pages_must_be_signed(s3: Any, bucket: str, headers: dict[str, str]) -> None:
    form = s3.generate_presigned_post(bucket, "signed")
    files = {"file": ("a", b"x")}
    assert requests.post(form["url"], data=form["fields"], files=files, headers=headers, timeout=5).status_code == 204
    answer = requests.post(form["url"], data={"key": "k"}, files=files, headers=headers, timeout=5)
    assert answer.status_code == 403
    assert requests.post(form["url"], data={"key": "k"}, files=files, timeout=5).status_code == 204


@pytest.mark.parametrize("target", ["/", "/status.json", "/metrics"])
def test_the_status_port(status_port: int, target: str) -> None:
    for headers in FOREIGN:
        assert status(status_port, "GET", target, headers) == 403
    for headers in ({}, {"Host": "s3.local"}, {"Host": "friend.example:1"}, {"Sec-Fetch-Site": "none"}):
        assert status(status_port, "GET", target, headers) == 200


# forms


def form(bucket: str, fields: dict[str, str], size: int, sent: int, client: socket.socket) -> None:
    """Send a form whose file has `size` bytes, up to the last `size - sent` of them."""
    parts = [f'--B\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n{v}\r\n' for n, v in fields.items()]
    head = "".join([*parts, '--B\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n']).encode()
    tail = b"\r\n--B--\r\n"
    client.sendall(
        f"POST /{bucket} HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=B\r\n"
        f"Content-Length: {len(head) + size + len(tail)}\r\n\r\n".encode()
        + head
    )
    block = bytes(1 << 20)
    for start in range(0, sent, len(block)):
        client.sendall(block[: min(len(block), sent - start)])
    if sent == size:
        client.sendall(tail)


def answer(client: socket.socket) -> int:
    return int(client.makefile("rb").readline().split()[1])


def test_a_large_form_takes_no_memory(stack: Stack, s3: Any, bucket: str) -> None:
    size = 200 << 20
    fields = s3.generate_presigned_post(bucket, "large")["fields"]
    with socket.create_connection(("127.0.0.1", stack.tabled.port), timeout=120) as client:
        form(bucket, fields, size, size, client)
        assert answer(client) == 204
    assert s3.head_object(Bucket=bucket, Key="large")["ContentLength"] == size
    assert stack.tabled.process is not None
    with open(f"/proc/{stack.tabled.process.pid}/status") as state:
        peak = next(int(line.split()[1]) for line in state if line.startswith("VmHWM"))
    assert peak < 150 << 10
    assert not [name for name in os.listdir(stack.directory / "tdb") if name.startswith("tmp")]


def test_a_form_without_permission_is_refused_before_its_file(stack: Stack, s3: Any, bucket: str) -> None:
    s3.put_bucket_acl(Bucket=bucket, ACL="private")
    good = s3.generate_presigned_post(bucket, "k")["fields"]
    for fields in ({"key": "k"}, good | {"signature": "x" * 28}, good | {"acl": "x"}):
        with socket.create_connection(("127.0.0.1", stack.tabled.port), timeout=20) as client:
            form(bucket, fields, 1 << 30, 0, client)
            assert answer(client) == 403


def test_a_form_too_large_for_its_policy_is_refused_on_the_way(stack: Stack, s3: Any, bucket: str) -> None:
    fields = s3.generate_presigned_post(bucket, "k", Conditions=[["content-length-range", 0, 1000]])["fields"]
    with socket.create_connection(("127.0.0.1", stack.tabled.port), timeout=20) as client:
        form(bucket, fields, 1 << 30, 2000, client)
        assert answer(client) == 400


@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: b", "a\nb", "a\tb", "a\0b"])
@pytest.mark.parametrize("name", ["Content-Type", "x-amz-meta-a", "Cache-Control", "success_action_redirect"])
def test_a_field_cannot_have_lines(s3: Any, bucket: str, name: str, value: str) -> None:
    made = s3.generate_presigned_post(bucket, "k", {name: value}, [{name: value}])
    files = {"file": ("a", b"x")}
    assert requests.post(made["url"], data=made["fields"], files=files, timeout=5).status_code == 400


def test_many_forms_that_are_held_open_leave_room_for_others(stack: Stack, s3: Any, bucket: str) -> None:
    held = [socket.create_connection(("127.0.0.1", stack.tabled.port), timeout=20) for _ in range(4)]
    try:
        for client in held:
            form(bucket, {"key": "k"}, 64 << 20, 60 << 20, client)
        made = s3.generate_presigned_post(bucket, "beside")
        files = {"file": ("a", bytes(8 << 20))}
        assert requests.post(made["url"], data=made["fields"], files=files, timeout=20).status_code == 204
    finally:
        for client in held:
            client.close()
    wait_for(lambda: s3.head_object(Bucket=bucket, Key="beside"), "the form is stored")
