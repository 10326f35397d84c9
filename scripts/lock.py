"""Write the lock files: every dependency with its version and the hashes of its files, and no index.

    requirements/dev.lock      the virtual environment: Linux and macOS, Python 3.11 and later
    requirements/aws-cli.lock  the aws-cli of tests/clients, in an environment of its own: the same
    requirements/moto.lock     moto's S3 server of benchmarks/tabled.py, in an environment of its own: the same
    requirements/seaweedfs.lock  SeaweedFS, the other peer of benchmarks/tabled.py: the same
    images/wheels.lock         what the daemons need inside the images: Linux, Python 3.13

`uv` resolves for machines other than this one; it is fetched with pip into a directory that is removed again.
With `--upgrade` versions move to the newest, else they stay where they can.
"""

from __future__ import annotations

import sys
import tempfile
import tomllib
from pathlib import Path

from steps import ROOT, VENV_PYTHON, main, run, step

HOW = "make lock"
UV = "uv==0.13.8"


def body() -> None:
    """Resolve both locks."""
    upgrade = ["--upgrade"] if "--upgrade" in sys.argv[1:] else []
    with tempfile.TemporaryDirectory() as directory:
        with step("resolver", f"fetched {UV}"):
            run([VENV_PYTHON, "-m", "pip", "install", "-q", "--no-deps", "--target", directory, UV])
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())
        build = Path(directory) / "build.in"
        # hailbox itself is built inside the environment, so its build back end is locked with the rest.
        build.write_text("\n".join([*project["build-system"]["requires"], "editables"]) + "\n")
        compile_: list[str | Path] = [
            Path(directory) / "bin" / "uv",
            "pip",
            "compile",
            "-q",
            "--no-config",
            "--universal",
        ]
        compile_ += ["--generate-hashes", "--no-annotate", "--custom-compile-command", HOW, *upgrade]
        with step("requirements/dev.lock", "written"):
            sources = [ROOT / "pyproject.toml", build]
            output = ROOT / "requirements" / "dev.lock"
            run(
                [
                    *compile_,
                    "--python-version",
                    "3.11",
                    "--extra",
                    "dev",
                    "--extra",
                    "compose",
                    *sources,
                    "-o",
                    output,
                ]
            )
        for name in ("aws-cli", "moto", "seaweedfs"):
            with step(f"requirements/{name}.lock", "written"):
                path = ROOT / "requirements" / name
                source, written = path.with_suffix(".in"), path.with_suffix(".lock")
                run([*compile_, "--python-version", "3.11", source, "-o", written])
        with step("images/wheels.lock", "written"):
            # The daemons are tested in the environment, so their images get the same versions.
            wheels: list[str | Path] = [ROOT / "images" / "wheels.in", "--constraints", output]
            run([*compile_, "--python-version", "3.13", *wheels, "-o", ROOT / "images" / "wheels.lock"])


if __name__ == "__main__":
    main(body)
