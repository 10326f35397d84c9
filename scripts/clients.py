"""Have the clients that tests drive: s3cmd, rclone, restic, s3fs and chromium of the distribution, and the aws-cli.

A client that cannot be had is no error: one line says why and what to do, and its tests are skipped. boto3 is among
the locked dependencies; the aws-cli is large and narrow in what it takes beside it, so it has `.venv/aws-cli` alone.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import sys
from pathlib import Path

from steps import ROOT, VENV, VENV_PYTHON, SetupError, install_packages, main, run, step

PACKAGES = {
    "s3cmd": ["s3cmd"],
    "rclone": ["rclone"],
    "restic": ["restic"],
    "s3fs": ["s3fs", "fuse3"],
    "chromium": ["chromium", "fonts-dejavu-core"],
}
"""Programs, and the packages of Debian and Ubuntu that bring them."""
FUSE = "/dev/fuse"
LOCK = ROOT / "requirements" / "aws-cli.lock"
AWS_CLI = VENV / "aws-cli"
INSTALLED = AWS_CLI / "hailbox-installed"
"""Holds the hash of the lock that was installed; written last, so an interrupted installation is noticed."""


def fuse_refusal() -> str:
    """Why this user cannot mount file systems of programs, as s3fs is one; empty if that works."""
    try:
        os.close(os.open(FUSE, os.O_RDWR))
    except OSError as error:
        return f"{FUSE}: {error.strerror}"
    return ""


def install_distribution() -> None:
    """Install what is missing of the distribution's clients."""
    with step("clients", "s3cmd, rclone, restic, s3fs and chromium present") as say:
        missing = [program for program in PACKAGES if not shutil.which(program)]
        refusal = fuse_refusal() if "s3fs" in missing else ""
        wanted = [program for program in missing if not (program == "s3fs" and refusal)]
        said = [f"installed {', '.join(wanted)}"] if wanted else []
        try:
            if wanted:
                install_packages([name for program in wanted for name in PACKAGES[program]], "not installed")
        except SetupError as error:
            said = [f"tests of {', '.join(wanted)} will be skipped; {error}"]
        if refusal:
            said.append(f"tests of s3fs will be skipped; {refusal}")
        if said:
            say("; ".join(said))


def _install_aws_cli(key: str) -> None:
    INSTALLED.unlink(missing_ok=True)
    run([VENV_PYTHON, "-m", "venv", "--clear", "--without-pip", AWS_CLI])
    pip: list[str | Path] = [VENV_PYTHON, "-m", "pip", "--python", AWS_CLI / "bin" / "python", "install", "-q"]
    run([*pip, "--disable-pip-version-check", "--require-hashes", "-r", LOCK])
    INSTALLED.write_text(key)


def install_aws_cli() -> None:
    """Install the locked aws-cli, for the interpreter of the virtual environment."""
    with LOCK.open("rb") as lock, step("aws-cli", "as locked") as say:
        # Two set-ups at once (two terminals) would install into one another.
        fcntl.flock(lock, fcntl.LOCK_EX)
        key = hashlib.sha256(lock.read() + sys.version.encode()).hexdigest()
        if INSTALLED.exists() and INSTALLED.read_text() == key:
            return
        try:
            _install_aws_cli(key)
        except SetupError as error:
            say(f"tests of the aws-cli will be skipped; {error}")
        else:
            say(f"installed from {LOCK.relative_to(ROOT)}")


def body() -> None:
    """Have the clients, or say why not."""
    install_distribution()
    install_aws_cli()


if __name__ == "__main__":
    main(body)
