"""One stack for all clients, destroyed at the end, and a bucket of thousands of keys that they all list."""

import secrets
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from hstor import Hstor
from oddnames import LONGEST, ODD, THOUSANDS, body_of
from s3endpoint import Endpoint

from support.enginestack import ARTEFACTS, Stack

CONNECTIONS = 16


@pytest.fixture(scope="session")
def endpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """The S3 of a stack that lives for the session. Afterwards it is destroyed, and nothing of it may be left."""
    stack = Stack(f"test-clients-{secrets.token_hex(4)}", tmp_path_factory.mktemp("empty"))
    failed_before, served = request.session.testsfailed, False
    try:
        stack.run("up")
        variables = {name: value for name, value in stack.env().items() if name.startswith("AWS_")}
        served = True
        yield Endpoint(variables)
    finally:
        if not served or request.session.testsfailed > failed_before:
            stack.keep_artefacts(ARTEFACTS / "clients")
        if stack.labelled():
            stack.run("destroy")
    assert stack.labelled() == []
    stack.client.close()


@pytest.fixture(scope="session")
def thousands(endpoint: Endpoint) -> str:
    """The name of a bucket, only to be read, with the keys of THOUSANDS, ODD and LONGEST."""
    name = "thousands"
    with endpoint.hstor() as hstor:
        assert hstor.request("PUT", name).status == 200

    def fill(keys: Sequence[str]) -> None:
        with endpoint.hstor() as hstor:
            for key in keys:
                assert hstor.request("PUT", name, key, body=body_of(key)).status == 200

    keys = [*ODD, LONGEST, *THOUSANDS]
    with ThreadPoolExecutor(CONNECTIONS) as threads:
        list(threads.map(fill, (keys[first::CONNECTIONS] for first in range(CONNECTIONS))))
    return name


@pytest.fixture
def other(endpoint: Endpoint) -> Iterator[Hstor]:
    """The client of 2010, which sees what another one did."""
    with endpoint.hstor() as hstor:
        yield hstor
