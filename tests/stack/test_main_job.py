"""The main job on real input: an image goes in and comes back, survives what it should, and goes when it should."""

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from support.bootimage import boot_image
from support.enginestack import Stack

MEGABYTE = 1_000_000


def curl(*words: str) -> str:
    """Run curl; return the body it printed. A status of 400 or more fails."""
    done = subprocess.run(["curl", "--silent", "--show-error", "--fail", *words], capture_output=True, text=True)
    assert done.returncode == 0, f"curl {' '.join(words)}: {done.stderr}"
    return done.stdout


def sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def s3_sha256(stack: Stack, bucket: str, key: str) -> str:
    digest = hashlib.sha256()
    for block in stack.s3().get_object(Bucket=bucket, Key=key)["Body"].iter_chunks(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def bytes_on(stack: Stack, replica: str, folder: str) -> int:
    """What the files below a folder of a container take, in bytes, as the container sees it."""
    status, output = stack.container(replica).exec_run(["du", "-sb", folder])
    assert status == 0, output
    return int(output.split()[0])


def peak_memory(stack: Stack, replica: str) -> int:
    """The most resident memory that the daemon has had so far, in bytes (VmHWM, proc(5))."""
    status, output = stack.container(replica).exec_run(["grep", "VmHWM", "/proc/1/status"])
    assert status == 0, output
    return int(output.split()[1]) * 1024


@pytest.mark.timeout(300)
def test_image_goes_in_and_comes_back(stack: Stack, tmp_path: Path) -> None:
    image = boot_image()
    expected = sha256(image)
    assert image.stat().st_size >= 30 * MEGABYTE

    assert all(replica["working"] for replica in stack.run("up").data["replicas"])
    env = stack.env()
    iwhd = env["IWHD_URL"]
    empty = bytes_on(stack, "chunkd-1", "/var/lib/chunkd")

    curl("-X", "PUT", f"{iwhd}/images")
    curl("-T", str(image), f"{iwhd}/images/debian12")
    curl("-X", "PUT", "-d", "x86_64", f"{iwhd}/images/debian12/arch")
    curl("-X", "PUT", "-d", "Debian GNU/Linux 12", f"{iwhd}/images/debian12/os")
    assert curl(f"{iwhd}/images/debian12/arch") == "x86_64"

    found = curl("-d", '$arch == "x86_64" && $os == "Debian GNU/Linux 12"', f"{iwhd}/images/_query")
    assert "<key>debian12</key>" in found
    missed = subprocess.run(["curl", "-s", "-o", os.devnull, "-w", "%{http_code}", "-d", '$arch == "i386"',
                             f"{iwhd}/images/_query"], capture_output=True, text=True)  # fmt: skip
    assert missed.stdout == "404"

    back = tmp_path / "back"
    curl("-o", str(back), f"{iwhd}/images/debian12")
    assert sha256(back) == expected
    assert s3_sha256(stack, "images", "debian12") == expected
    assert bytes_on(stack, "chunkd-1", "/var/lib/chunkd") - empty >= image.stat().st_size

    stack.run("down")
    stack.run("up")
    assert stack.env() == env
    assert s3_sha256(stack, "images", "debian12") == expected
    assert curl(f"{iwhd}/images/debian12/os") == "Debian GNU/Linux 12"
    curl("-o", str(back), f"{iwhd}/images/debian12")
    assert sha256(back) == expected

    assert all(replica["working"] for replica in stack.run("reset").data["stack"]["replicas"])
    assert "images" not in curl(iwhd)
    assert stack.s3().list_buckets()["Buckets"] == []
    assert bytes_on(stack, "chunkd-1", "/var/lib/chunkd") < image.stat().st_size
    curl("-X", "PUT", f"{iwhd}/again")
    curl("-X", "PUT", "-d", "works", f"{iwhd}/again/object")
    assert curl(f"{iwhd}/again/object") == "works"

    stack.run("destroy")
    assert stack.labelled() == []


@pytest.mark.timeout(600)
def test_two_gibibytes_through_bounded_memory(stack: Stack, tmp_path: Path) -> None:
    stack.run("up")
    env = stack.env()
    big = tmp_path / "big"
    with big.open("wb") as stream:
        stream.write(b"first")
        stream.truncate(2 << 30)
    curl("-X", "PUT", f"{env['IWHD_URL']}/large")
    curl("-T", str(big), f"{env['IWHD_URL']}/large/image")
    expected = sha256(big)
    big.unlink()
    command = f"curl --silent --fail {env['IWHD_URL']}/large/image | sha256sum"
    assert subprocess.run(command, shell=True, capture_output=True, text=True).stdout.split()[0] == expected
    peaks = {name: peak_memory(stack, name) for name in ("cld-1", "chunkd-1", "tabled-1", "iwhd-1")}
    assert {name: peak for name, peak in peaks.items() if peak > 150 * MEGABYTE} == {}


def test_profile_fs_is_a_warehouse_alone(stack: Stack) -> None:
    replicas = stack.run("up", "--profile", "fs").data["replicas"]
    assert [replica["replica"] for replica in replicas] == ["iwhd-1"]
    env = stack.env()
    assert set(env) == {"HAILBOX_STACK", "IWHD_URL", "IWHD_URLS"}
    curl("-X", "PUT", f"{env['IWHD_URL']}/b")
    curl("-X", "PUT", "-d", "body", f"{env['IWHD_URL']}/b/k")
    stack.run("down")
    stack.run("up")
    assert curl(f"{env['IWHD_URL']}/b/k") == "body"
