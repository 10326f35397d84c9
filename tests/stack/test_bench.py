"""`bench` on a real stack: every service is measured, nothing of it stays, and nothing else is touched."""

import signal
import subprocess
import urllib.request

import pytest
import tenacity

from support.enginestack import Stack

SHORT = ("--seconds", "0.2", "--size", "4KiB", "--size", "1MiB")


def stored(stack: Stack) -> dict[str, str]:
    """What a user can see of data: files in cld, tables' objects in chunkd, buckets in tabled and iwhd."""
    root = stack.run("env").data["IWHD_URL"]
    with urllib.request.urlopen(f"{root}/", timeout=10) as answer:
        buckets = answer.read().decode()
    files, objects = (
        stack.run("shell", *words).data["commands"][0]["output"]
        for words in (("cld", "ls", "/"), ("chunkd", "-t", "hailbox-bench", "--create", "list"))
    )
    return {"cld": files, "chunkd": objects, "iwhd": buckets}


@pytest.mark.timeout(180)
def test_every_service_is_measured_and_nothing_stays(stack: Stack) -> None:
    stack.run("up")
    before = stored(stack)
    figures = stack.run("bench", *SHORT, "-c", "1", "-c", "3").data["figures"]
    assert [figure["replica"] for figure in figures] == [
        *["cld-1"] * 2, *["chunkd-1"] * 8, *["tabled-1"] * 8, *["iwhd-1"] * 8
    ]  # fmt: skip
    for figure in figures:
        assert figure["count"] >= figure["connections"]
        assert figure["seconds"] >= 0.2
        assert 0 < figure["median"] <= figure["slowest_percent"]
    assert stored(stack) == before

    # A run that is ended early leaves objects, which the next one removes.
    running = subprocess.Popen(
        [*stack.command("bench", "chunkd", "--seconds", "60", "--size", "16MiB", "-c", "2")],
        cwd=stack.home,
        env=stack.environment(),
        stderr=subprocess.DEVNULL,
    )
    tenacity.Retrying(
        retry=tenacity.retry_if_result(lambda now: now == before),
        wait=tenacity.wait_fixed(0.1),
        stop=tenacity.stop_after_delay(60),
    )(stored, stack)
    running.send_signal(signal.SIGINT)
    assert running.wait(10) == 130
    assert stored(stack) != before
    stack.run("bench", "chunkd", *SHORT, "-c", "1")
    assert stored(stack) == before


@pytest.mark.timeout(120)
def test_a_service_that_fails_is_named(stack: Stack) -> None:
    stack.run("up", "--profile", "fs")
    stack.run("fault", "kill", "iwhd-1")
    ended = stack.run("bench", ok=False)
    assert (ended.status, [error["code"] for error in ended.errors]) == (5, ["not-working"])
    assert "iwhd-1 failed while it was measured" in ended.errors[0]["problem"]
    assert [error["code"] for error in stack.run("bench", "tabled", ok=False).errors] == ["unknown-service"]
