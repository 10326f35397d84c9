"""A service of the user's own in a stack: from a checkout that changes, from a Dockerfile, with own settings."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import tenacity

from support.enginestack import ROOT, Stack

soon = tenacity.retry(
    retry=tenacity.retry_if_exception_type(AssertionError),
    stop=tenacity.stop_after_delay(15),
    wait=tenacity.wait_fixed(0.1),
    reraise=True,
)


def configure(stack: Stack, text: str) -> None:
    (stack.home / "hailbox.yaml").write_text(f"profile: fs\n{text}")


def logs(stack: Stack) -> str:
    return bytes(stack.container("iwhd-1").logs()).decode()


@soon
def says(stack: Stack, text: str) -> None:
    assert text in logs(stack)


@pytest.mark.timeout(300)
def test_a_checkout_takes_the_place_of_the_image_s_code(stack: Stack) -> None:
    shutil.copytree(ROOT / "src" / "haild", stack.home / "own" / "src" / "haild")
    configure(stack, "services: {iwhd: {source: own}}\n")
    stack.run("up")
    module = stack.home / "own" / "src" / "haild" / "iwhd" / "__main__.py"
    right = module.read_text()
    future = "from __future__ import annotations\n"
    assert future in right
    module.write_text(right.replace(future, f"{future}print('changed by hand', flush=True)\n"))
    says(stack, "changed by hand")
    module.write_text("def wrong(:\n" + right)
    says(stack, "iwhd/__main__.py, line 1: invalid syntax")
    assert stack.run("status").status == 0
    # The choice holds where no file says so, until another one is made.
    (stack.home / "hailbox.yaml").unlink()
    assert stack.run("up").data["changed"] == []
    configure(stack, "services: {iwhd: {}}\n")
    assert "iwhd-1" in stack.run("up").data["changed"]
    assert stack.container("iwhd-1").attrs["Config"]["Entrypoint"] == ["python3", "-m", "haild.iwhd"]


@pytest.mark.timeout(300)
def test_an_image_built_from_a_directory(stack: Stack, tmp_path: Path) -> None:
    stack.run("up", "--profile", "fs")
    ours = stack.container("iwhd-1").attrs["Config"]["Image"]
    folder = stack.home / "image"
    folder.mkdir()
    (folder / "Dockerfile").write_text(f"FROM {ours}\nARG WORD=none\nENV MINE=$WORD\n")
    configure(
        stack,
        "services: {iwhd: {build: {context: image, args: {WORD: 7}}, limits: {memory: 200m, cpus: 0.5, pids: 99},"
        " environment: {LETTER: a$b}}}\n",
    )
    try:
        stack.run("up")
        found = stack.container("iwhd-1").attrs
        assert {"MINE=7", "LETTER=a$b"} <= set(found["Config"]["Env"])
        limits = found["HostConfig"]
        assert (limits["Memory"], limits["NanoCpus"], limits["PidsLimit"]) == (200 << 20, 500_000_000, 99)
        assert stack.run("up").data["changed"] == []
        (folder / "Dockerfile").write_text("FROM scratch\nCOPY missing /\n")
        refused = stack.run("up", ok=False)
        assert (refused.status, refused.errors[0]["code"]) == (4, "image-failed")
        assert "missing" in refused.errors[0]["problem"]
        assert str(folder / "Dockerfile") in refused.errors[0]["remedy"]
        assert stack.run("status").status == 0
    finally:
        (stack.home / "hailbox.yaml").unlink()
        stack.run("destroy")
        for image in stack.client.images.list(f"hailbox-own/{stack.name}-iwhd"):
            stack.client.images.remove(image.id, force=True)
