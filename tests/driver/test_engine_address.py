"""Where the engine is: DOCKER_HOST, contexts of the docker client, TLS; and who may pull from a registry."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hailbox.engine.docker import address, registries
from hailbox.engine.docker.address import Address
from hailbox.engine.docker.objects import split
from hailbox.model.errors import UsageError

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
        for part in ("ca", "cert", "key"):
            (material / f"{part}.pem").touch()
    return material


def test_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/nonexistent")
    found = address.find()
    assert found == Address("unix:///var/run/docker.sock")
    assert found.environment == {}


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[Callable[[Path], None]]:
    """Makes a socket on which something listens, at a path."""
    made: list[socket.socket] = []

    def listen(path: Path) -> None:
        path.parent.mkdir(parents=True)
        opened = socket.socket(socket.AF_UNIX)
        opened.bind(str(path))
        opened.listen(1)
        made.append(opened)

    yield listen
    for opened in made:
        opened.close()


def test_podman_is_found_where_no_docker_answers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, listening: Callable[[Path], None]
) -> None:
    monkeypatch.setattr(address, "DEFAULT", f"unix://{tmp_path}/d/docker.sock")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert address.find() == Address(f"unix://{tmp_path}/d/docker.sock")
    listening(tmp_path / "podman" / "podman.sock")
    found = address.find()
    assert found == Address(f"unix://{tmp_path}/podman/podman.sock", chosen=True, by_itself=True)
    assert found.environment == {"DOCKER_HOST": f"unix://{tmp_path}/podman/podman.sock"}
    listening(tmp_path / "d" / "docker.sock")
    assert address.find() == Address(f"unix://{tmp_path}/d/docker.sock")
    monkeypatch.setenv("DOCKER_HOST", "unix:///gone.sock")
    assert address.find() == Address("unix:///gone.sock", chosen=True)


def test_a_docker_that_refuses_this_user_is_not_replaced_by_podman(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, listening: Callable[[Path], None]
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    listening(tmp_path / "podman" / "podman.sock")

    def refuse(_socket: object, path: str) -> None:
        if path == address.DEFAULT.removeprefix("unix://"):
            raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert address.find() == Address(address.DEFAULT)


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


def test_context_where_the_client_keeps_no_configuration(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """`docker context create` writes no `config.json`; and the current directory is no folder of the client's."""
    context(home, "one", {"Host": "unix:///one.sock"})
    elsewhere = home / "elsewhere"
    context(elsewhere, "two", {"Host": "unix:///two.sock"})
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("DOCKER_CONTEXT", "one")
    assert address.find() == Address("unix:///one.sock", chosen=True)
    monkeypatch.setenv("DOCKER_CONTEXT", "two")
    with pytest.raises(UsageError, match="DOCKER_CONTEXT is 'two'"):
        address.find()


def test_context_with_certificates(home: Path) -> None:
    material = context(home, "far", {"Host": "tcp://far:2376"}, tls=True)
    (home / "config.json").write_text('{"currentContext": "far"}')
    found = address.find()
    assert found.tls is not None
    assert (found.tls.ca_cert, found.tls.verify) == (str(material / "ca.pem"), True)
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
        ({"DOCKER_TLS_VERIFY": ""}, 2375, None),
        ({"DOCKER_TLS_VERIFY": "1"}, 2376, ("HOME", True)),
        ({"DOCKER_CERT_PATH": "HOME/c"}, 2376, ("HOME/c", False)),
        ({"DOCKER_CERT_PATH": "HOME/c", "DOCKER_TLS_VERIFY": "yes"}, 2376, ("HOME/c", True)),
    ],
)
def test_certificates_of_variables(
    monkeypatch: pytest.MonkeyPatch,
    home: Path,
    variables: dict[str, str],
    port: int,
    expected: tuple[str, bool] | None,
) -> None:
    for folder in (home, home / "c"):
        folder.mkdir(exist_ok=True)
        for part in ("ca", "cert", "key"):
            (folder / f"{part}.pem").touch()
    for name, value in {"DOCKER_HOST": "tcp://far", **variables}.items():
        monkeypatch.setenv(name, value.replace("HOME", str(home)))
    found = address.find()
    assert found.url == f"tcp://far:{port}"
    if expected is None:
        assert found.tls is None
        assert found.environment == {"DOCKER_HOST": "tcp://far"}
        return
    folder, verify = Path(expected[0].replace("HOME", str(home))), expected[1]
    assert found.tls is not None
    assert (found.tls.ca_cert, bool(found.tls.verify)) == (str(folder / "ca.pem"), verify)
    assert found.environment == {
        "DOCKER_HOST": "tcp://far",
        "DOCKER_TLS_VERIFY": "1" if verify else "",
        "DOCKER_CERT_PATH": str(folder),
    }


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("tcp://far:1234", "tcp://far:1234"),
        ("far:1234", "far:1234"),
        ("http://far", "http://far:2375"),
        ("https://far", "https://far:2376"),
        ("tcp://[::1]:2375", "tcp://[::1]:2375"),
        ("unix:///x", "unix:///x"),
        ("tcp://[::1", "tcp://[::1"),
    ],
)
def test_ports_that_are_not_named(text: str, url: str) -> None:
    assert Address(text).url == url


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
    assert split(reference) == expected


def test_credentials_for_a_registry(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert registries.credentials_for("team/python") is None
    hub = base64.b64encode(b"me:se:cret").decode()
    configuration = {
        "auths": {
            "https://index.docker.io/v1/": {"auth": hub},
            "host:5000": {"auth": base64.b64encode(b"you:it").decode()},
            "empty.example": {},
        },
        "credHelpers": {"kept.example": "test", "broken.example": "broken", "missing.example": "missing"},
    }
    (home / "config.json").write_text(json.dumps(configuration))
    for repository in ("python", "team/python"):
        found = registries.credentials_for(repository)
        assert found is not None
        assert (found["username"], found["password"]) == ("me", "se:cret")
    kept = registries.credentials_for("host:5000/x")
    assert kept is not None
    assert (kept["username"], kept["serveraddress"]) == ("you", "host:5000")
    helper = '#!/bin/sh\nread host\nprintf \'{"Username": "%s", "Secret": "s"}\' "$1-$host"\n'
    for name, text in (("test", helper), ("broken", "#!/bin/sh\necho credentials not found\nexit 1\n")):
        (home / f"docker-credential-{name}").write_text(text)
        (home / f"docker-credential-{name}").chmod(0o755)
    monkeypatch.setenv("PATH", f"{home}:/usr/bin:/bin")
    helped = registries.credentials_for("kept.example/x")
    assert helped is not None
    assert (helped["Username"], helped["Password"]) == ("get-kept.example", "s")
    for host in ("empty.example", "broken.example", "missing.example", "other.example"):
        assert not registries.credentials_for(f"{host}/x")


def test_credentials_that_make_no_sense(home: Path) -> None:
    for text in ('{"auths": {"odd.example": {"auth": "?"}}}', "[]", "no JSON", '{"auths": [1]}'):
        (home / "config.json").write_text(text)
        assert not registries.credentials_for("odd.example/x")
