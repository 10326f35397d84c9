"""The pytest plugin: fixtures for tests that need an image warehouse or an S3 server.

`hailbox_stack` is a stack of the run's own (one for each worker of xdist), made when a test first asks for it and
destroyed at the end. Of a run that was killed, the next one removes it.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from hailbox.testing.stack import RunningStack

_STARTED: Final = pytest.StashKey[float]()
_OPTIONS: Final = {
    "profile": "the stack's profile (default: that of hailbox.yaml, else s3)",
    "file": "the hailbox.yaml to use in place of the nearest one",
    "keep": "`failed`: leave the stack up after a run with failures; `always`; default: never",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--hailbox-profile` and so on, and the same in the ini file as `hailbox_profile`."""
    group = parser.getgroup("hailbox", "stacks of hailbox")
    for name, text in _OPTIONS.items():
        group.addoption(f"--hailbox-{name}", metavar=name.upper(), default=None, help=text)
        parser.addini(f"hailbox_{name}", text, default="")


def _option(config: pytest.Config, name: str) -> str:
    given = config.getoption(f"--hailbox-{name}")
    return str(given if given is not None else config.getini(f"hailbox_{name}"))


@pytest.fixture(scope="session")
def hailbox_stack(request: pytest.FixtureRequest) -> Iterator[RunningStack]:
    """A working stack for the whole run. What one test stores the next one finds: see `clean_stack`."""
    from hailbox.testing.owner import stack_name
    from hailbox.testing.stack import RunningStack, remove_abandoned

    config = request.config
    directory = config.rootpath
    remove_abandoned(directory)
    stack = RunningStack(stack_name(os.environ.get("PYTEST_XDIST_WORKER", "")), directory)
    profile, file, keep = (_option(config, name) for name in ("profile", "file", "keep"))
    options = [*(["--file", str(Path(file).resolve())] if file else []), *(["--profile", profile] if profile else [])]
    try:
        stack.up(*options)
        yield stack
    finally:
        if keep == "always" or (keep == "failed" and request.session.testsfailed):
            stack.close()
            config.get_terminal_writer().line(f"kept: hailbox --stack {stack.name} status")
        else:
            stack.destroy()


@pytest.fixture(scope="session")
def hailbox_env(hailbox_stack: RunningStack) -> dict[str, str]:
    """Addresses and credentials of the stack, as `hailbox env` prints them."""
    return hailbox_stack.env()


@pytest.fixture(scope="session")
def iwhd_url(hailbox_env: dict[str, str]) -> str:
    """The image warehouse's address."""
    if "IWHD_URL" not in hailbox_env:
        pytest.fail("the stack's profile has no iwhd")
    return hailbox_env["IWHD_URL"]


@pytest.fixture(scope="session")
def s3_client(hailbox_env: dict[str, str]) -> Any:
    """A boto3 client of the stack's S3 server; skips where boto3 is not installed."""
    boto3 = pytest.importorskip("boto3", reason="s3_client needs boto3: pip install boto3")
    if "AWS_ENDPOINT_URL" not in hailbox_env:
        pytest.fail("the stack's profile has no S3 server")
    return boto3.client(
        "s3",
        endpoint_url=hailbox_env["AWS_ENDPOINT_URL"],
        aws_access_key_id=hailbox_env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=hailbox_env["AWS_SECRET_ACCESS_KEY"],
        region_name=hailbox_env["AWS_DEFAULT_REGION"],
    )


@pytest.fixture
def clean_stack(hailbox_stack: RunningStack) -> RunningStack:
    """The stack without anything that an earlier test stored."""
    if hailbox_stack.used:
        hailbox_stack.clean()
    hailbox_stack.used = True
    return hailbox_stack


@pytest.fixture
def fault(hailbox_stack: RunningStack) -> Callable[..., AbstractContextManager[None]]:
    """`with fault("kill", "chunkd-1"):` has the fault in effect within the block."""
    return hailbox_stack.fault


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Note when the test began, and that it may store something."""
    item.stash[_STARTED] = time.time()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Name what explains a failure in its report."""
    outcome: Any = yield
    report = outcome.get_result()
    if not isinstance(item, pytest.Function) or call.when != "call":
        return
    stack: Any = item.funcargs.get("hailbox_stack")
    if stack is None:
        return
    if "clean_stack" not in item.funcargs:
        stack.used = True
    if report.failed:
        folder = item.config.rootpath / ".pytest_hailbox" / re.sub(r"[^\w.-]+", "_", item.nodeid)[-120:]
        kept = stack.keep_evidence(folder, item.stash[_STARTED])
        report.sections.append(("hailbox", "".join(f"{path}\n" for path in kept)))
