"""The pytest plugin, in runs of pytest of their own against the real engine."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import docker
import pytest

SUITE = """
import urllib.request
import pytest

@pytest.mark.parametrize("number", range(3))
def test_clean(clean_stack, s3_client, number):
    assert s3_client.list_buckets()["Buckets"] == []
    s3_client.create_bucket(Bucket=f"bucket-{number}")
    s3_client.put_object(Bucket=f"bucket-{number}", Key="k", Body=b"x")

def test_shared(iwhd_url):
    urllib.request.urlopen(urllib.request.Request(f"{iwhd_url}/images", method="PUT"))
    request = urllib.request.Request(f"{iwhd_url}/images/k", data=b"body", method="PUT")
    urllib.request.urlopen(request)
    assert urllib.request.urlopen(f"{iwhd_url}/images/k").read() == b"body"

def test_fault(fault, hailbox_stack, s3_client):
    with fault("kill", "chunkd-1"):
        assert [f["kind"] for f in hailbox_stack.run("fault", "ls")] == ["kill"]
    s3_client.list_buckets()
"""


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options, str(folder)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=280, check=False)


def ours() -> list[str]:
    client = docker.from_env()
    try:
        found = client.containers.list(all=True, filters={"label": "org.hailbox.stack"}, ignore_removed=True)
        return [c.name for c in found if str(c.labels["org.hailbox.stack"]).startswith("pt-")]
    finally:
        client.close()


@pytest.mark.timeout(300)
def test_a_suite_on_two_workers_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "test_suite.py").write_text(SUITE)
    done = run(tmp_path, "-n", "2")
    assert "5 passed" in done.stdout, done.stdout + done.stderr
    assert ours() == []


@pytest.mark.timeout(300)
def test_a_failure_names_its_evidence_and_the_next_run_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    (tmp_path / "test_suite.py").write_text(
        "def test_it(hailbox_stack):\n    print('running', flush=True)\n    input()\n"
    )
    command = [sys.executable, "-m", "pytest", "-s", "-p", "no:cacheprovider", str(tmp_path)]
    with subprocess.Popen(command, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "running" in line:
                break
        process.send_signal(signal.SIGKILL)
    assert ours()

    (tmp_path / "test_suite.py").write_text("def test_it(hailbox_stack):\n    assert 0\n")
    done = run(tmp_path, "--hailbox-profile", "fs")
    assert "1 failed" in done.stdout, done.stdout
    evidence = re.search(r"^(/.*bundle\.tar\.gz)$", done.stdout, re.MULTILINE)
    assert evidence, done.stdout
    assert os.path.getsize(evidence[1]) > 0
    assert "iwhd-1" in (Path(evidence[1]).parent / "logs.txt").read_text()
    assert ours() == []
