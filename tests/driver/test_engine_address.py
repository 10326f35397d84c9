"""Where the engine is: DOCKER_HOST, contexts of the docker client, TLS; and who may pull from a registry."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from hailbox.engine import address, registry
from hailbox.engine.address import Address, Certificates
from hailbox.model.errors import EngineUnreachableError, UsageError

VARIABLES = ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH")


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The docker client's folder, empty, and no variable of the tester's."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    return tmp_path


def context(home: Path, name: str, endpoint: dict[str, Any], *, tls: bool = False) -> Path:
    """As `docker context create` writes it."""
    digest = hashlib.sha256(name.encode()).hexdigest()
    folder = home / "contexts" / "meta" / digest
    folder.mkdir(parents=True)
    described = {"Name": name, "Metadata": {}, "Endpoints": {"docker": endpoint}}
    (folder / "meta.json").write_text(json.dumps(described))
    material = home / "contexts" / "tls" / digest / "docker"
    if tls:
        material.mkdir(parents=True)
    return material


def test_default() -> None:
    found = address.find()
    assert found == Address("unix:///var/run/docker.sock")
    assert found.environment == {}


def test_host_goes_before_contexts(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///there.sock")
    monkeypatch.setenv("DOCKER_CONTEXT", "nowhere")
    (home / "config.json").write_text('{"currentContext": "nowhere"}')
    assert address.find() == Address("unix:///there.sock", chosen=True)
    assert address.find().environment == {"DOCKER_HOST": "unix:///there.sock"}


def test_context_that_is_chosen_or_current(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    context(home, "one", {"Host": "unix:///one.sock"})
    context(home, "two", {"Host": "unix:///two.sock", "SkipTLSVerify": False})
    (home / "config.json").write_text('{"currentContext": "one"}')
    assert address.find() == Address("unix:///one.sock", chosen=True)
    monkeypatch.setenv("DOCKER_CONTEXT", "two")
    assert address.find() == Address("unix:///two.sock", chosen=True)
    monkeypatch.setenv("DOCKER_CONTEXT", "default")
    assert address.find() == Address(address.DEFAULT)


def test_context_with_certificates(home: Path) -> None:
    material = context(home, "far", {"Host": "tcp://far:2376"}, tls=True)
    (home / "config.json").write_text('{"currentContext": "far"}')
    found = address.find()
    assert found.certificates == Certificates(material, verify=True)
    assert found.secure
    assert found.environment == {
        "DOCKER_HOST": "tcp://far:2376",
        "DOCKER_TLS_VERIFY": "1",
        "DOCKER_CERT_PATH": str(material),
    }


@pytest.mark.parametrize("written", ["", "no JSON", "[]", '{"currentContext": 5}', '{"currentContext": ""}'])
def test_client_configuration_that_says_nothing(home: Path, written: str) -> None:
    (home / "config.json").write_text(written)
    assert address.find() == Address(address.DEFAULT)


@pytest.mark.parametrize("described", ["", "[]", "{}", '{"Endpoints": {"docker": {}}}', '{"Endpoints": []}'])
def test_context_that_is_not_there_is_never_another_engine(home: Path, described: str) -> None:
    (home / "config.json").write_text('{"currentContext": "lost"}')
    folder = home / "contexts" / "meta" / hashlib.sha256(b"lost").hexdigest()
    folder.mkdir(parents=True)
    (folder / "meta.json").write_text(described)
    with pytest.raises(UsageError, match="current context is 'lost'"):
        address.find()


@pytest.mark.parametrize(
    ("variables", "port", "expected"),
    [
        ({}, 2375, None),
        ({"DOCKER_TLS_VERIFY": "1"}, 2376, Certificates(Path("HOME"), verify=True)),
        ({"DOCKER_CERT_PATH": "/c"}, 2376, Certificates(Path("/c"), verify=False)),
        ({"DOCKER_CERT_PATH": "/c", "DOCKER_TLS_VERIFY": "yes"}, 2376, Certificates(Path("/c"), verify=True)),
    ],
)
def test_certificates_of_variables(
    monkeypatch: pytest.MonkeyPatch, home: Path, variables: dict[str, str], port: int, expected: Certificates | None
) -> None:
    for name, value in {"DOCKER_HOST": "tcp://far", **variables}.items():
        monkeypatch.setenv(name, value)
    if expected is not None and expected.folder == Path("HOME"):
        expected = Certificates(home, expected.verify)
    found = address.find()
    assert (found.certificates, found.secure, found.port) == (expected, expected is not None, port)


@pytest.mark.parametrize(
    ("text", "secure", "port"),
    [
        ("tcp://far:1234", False, 1234),
        ("far:1234", False, 1234),
        ("http://far", False, 2375),
        ("https://far", True, 2376),
        ("tcp://[::1]:2375", False, 2375),
    ],
)
def test_tcp(text: str, secure: bool, port: int) -> None:
    found = Address(text)
    assert (found.secure, found.port) == (secure, port)


@pytest.mark.parametrize("text", ["gopher://x", "unix://", "tcp://", "tcp://far:port", "tcp://[::1", "npipe:////./x"])
def test_addresses_that_make_no_sense(text: str) -> None:
    with pytest.raises(EngineUnreachableError) as caught:
        _ = Address(text).port
    assert text in caught.value.problem


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("python", ("python", "latest")),
        ("python:3.13-slim", ("python", "3.13-slim")),
        ("host:5000/team/python", ("host:5000/team/python", "latest")),
        ("host:5000/python:1", ("host:5000/python", "1")),
        ("python@sha256:ab", ("python", "sha256:ab")),
    ],
)
def test_parts_of_a_reference(reference: str, expected: tuple[str, str]) -> None:
    assert registry.split(reference) == expected


def said(header: dict[str, str]) -> dict[str, str]:
    return dict(json.loads(base64.urlsafe_b64decode(header["X-Registry-Auth"])))


def test_credentials_for_a_registry(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert registry.authorization("team/python") == {}
    hub, token = base64.b64encode(b"me:se:cret").decode(), {"identitytoken": "t"}
    configuration = {
        "auths": {
            "https://index.docker.io/v1/": {"auth": hub},
            "host:5000": token,
            "empty.example": {},
            "odd.example": {"auth": "?"},
        },
        "credHelpers": {"kept.example": "test", "broken.example": "broken", "missing.example": "missing"},
    }
    (home / "config.json").write_text(json.dumps(configuration))
    expected = {"username": "me", "password": "se:cret", "serveraddress": "https://index.docker.io/v1/"}
    assert said(registry.authorization("python")) == said(registry.authorization("team/python")) == expected
    assert said(registry.authorization("host:5000/x")) == {"identitytoken": "t", "serveraddress": "host:5000"}
    helper = '#!/bin/sh\nread host\nprintf \'{"Username": "%s", "Secret": "s"}\' "$1-$host"\n'
    for name, text in (("test", helper), ("broken", "#!/bin/sh\necho credentials not found\nexit 1\n")):
        (home / f"docker-credential-{name}").write_text(text)
        (home / f"docker-credential-{name}").chmod(0o755)
    monkeypatch.setenv("PATH", f"{home}:/usr/bin:/bin")
    kept = said(registry.authorization("kept.example/x"))
    assert kept == {"username": "get-kept.example", "password": "s", "serveraddress": "kept.example"}
    for host in ("empty.example", "odd.example", "broken.example", "missing.example", "other.example"):
        assert registry.authorization(f"{host}/x") == {}
