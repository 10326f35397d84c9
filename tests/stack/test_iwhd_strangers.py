"""iwhd in a stack: what strangers get, and a login that hailbox.yaml asks for."""

from __future__ import annotations

import json
import subprocess

import pytest

from support.enginestack import Stack

CONFIGURATION = {
    "providers": [{"name": "directory", "type": "fs", "path": "/var/lib/iwhd"}],
    "access": {"token": "@IWHD_TOKEN@"},
}


def status(*words: str) -> int:
    """The HTTP status that curl gets."""
    command = ["curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}", *words]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.timeout(300)
def test_strangers_and_a_login(stack: Stack) -> None:
    stack.run("up", "--profile", "fs")
    url = stack.env()["IWHD_URL"]
    assert status("-X", "PUT", f"{url}/hailbox") == 201
    assert status("-T", "/dev/null", f"{url}/hailbox/credentials.json") == 201
    assert status("-H", "Origin: http://evil.example", url) == 403
    assert status("-H", "Host: evil.example", url) == 403
    for provider in (
        "type=fs&path=/etc&port=1",
        "type=fs&path=/proc/self&port=1",
        "type=http&host=172.17.0.1&port=22",
    ):
        assert status("-d", provider, f"{url}/_providers/x") == 403
    assert status("-d", "type=fs&path=/var/lib/iwhd&port=1", f"{url}/_providers/x") == 200
    (note,) = stack.run("status").data["notes"]
    assert "iwhd-1: no login" in note

    (stack.home / "iwhd.json").write_text(json.dumps(CONFIGURATION))
    (stack.home / "hailbox.yaml").write_text("profile: fs\nservices: {iwhd: {config: ./iwhd.json}}\n")
    stack.run("up")
    environment = stack.env()
    url, token = environment["IWHD_URL"], environment["IWHD_TOKEN"]
    assert status(f"{url}/hailbox") == 401
    assert status("-H", f"Authorization: Bearer {token}", f"{url}/hailbox") == 200
    assert status("-H", f"Authorization: Bearer {token}", "-H", "Host: evil.example", f"{url}/hailbox") == 403
    assert stack.run("status").data["notes"] == []
    # The token is nowhere on the engine but in files.
    container = stack.container("iwhd-1")
    assert token not in json.dumps(container.attrs)
