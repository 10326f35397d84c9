"""What is published: the source distribution and the wheel that is made from it work outside of a checkout."""

from __future__ import annotations

import email
import shutil
import site
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def pythons() -> list[str]:
    """One interpreter of each version from 3.11 on that can be run here: by its name, or below pyenv's folder."""
    found = {}
    for minor in range(11, 16):
        name = f"python3.{minor}"
        below = Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/{name}")
        for program in filter(None, (shutil.which(name), *map(str, below))):
            done = subprocess.run([program, "-c", "import ensurepip, venv"], capture_output=True)
            if done.returncode == 0:
                found[minor] = program
    return list(found.values()) or [sys.executable]


def run(words: Sequence[str | Path], cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(cwd), **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source distribution, and a wheel that was made from what is in it."""
    folder = tmp_path_factory.mktemp("dist")
    build = "import sys, hatchling.build as b; print(getattr(b, f'build_{sys.argv[1]}')(sys.argv[2]))"
    run([sys.executable, "-c", build, "sdist", folder], ROOT)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as source:
        source.extractall(folder / "source", filter="data")
    (unpacked,) = (folder / "source").iterdir()
    run([sys.executable, "-c", build, "wheel", folder], unpacked)
    return folder


def wheel_of(dist: Path) -> Path:
    (wheel,) = dist.glob("*.whl")
    return wheel


def test_the_metadata_are_complete(dist: Path) -> None:
    with zipfile.ZipFile(wheel_of(dist)) as wheel:
        (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = email.message_from_bytes(wheel.read(name))
        (points,) = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
        scripts = wheel.read(points).decode()
    assert metadata["Name"] == "hailbox"
    for field in ("Version", "Summary", "License-Expression", "License-File", "Requires-Python", "Keywords"):
        assert metadata[field], field
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert "hailbox" in str(metadata.get_payload())[:200]
    classifiers = metadata.get_all("Classifier") or []
    assert "Typing :: Typed" in classifiers
    assert set(metadata.get_all("Provides-Extra") or []) >= {"compose", "pytest"}
    assert "hailbox = hailbox.__main__:main" in scripts
    assert "[pytest11]" in scripts


def test_the_wheel_has_what_a_stack_is_made_of_and_no_tests(dist: Path) -> None:
    with zipfile.ZipFile(wheel_of(dist)) as wheel:
        names = set(wheel.namelist())
    for needed in (
        "hailbox/data/compose/common.yaml",
        "hailbox/data/compose/profiles/s3.yaml",
        "hailbox/data/images/cld/Dockerfile",
        "hailbox/data/hailbox.schema.json",
        "haild/iwhd/daemon.py",
        "hailbox/py.typed",
    ):
        assert needed in names
    assert not [name for name in names if name.startswith(("tests", "benchmarks", "scripts"))]


@pytest.mark.parametrize("python", pythons())
def test_an_installed_wheel_works_without_the_checkout(python: str, dist: Path, tmp_path: Path) -> None:
    if python == sys.executable:
        venv.create(tmp_path / "venv", with_pip=True)
    else:
        run([python, "-m", "venv", tmp_path / "venv"], tmp_path)
    installed = tmp_path / "venv" / "bin"
    run([installed / "pip", "install", "--no-deps", "--no-index", wheel_of(dist)], tmp_path)
    # What it depends on comes from this environment, in place of an index: it must not bring hailbox along.
    ours = [Path(place) for place in site.getsitepackages() if Path(place).is_dir()]
    dependencies = tmp_path / "dependencies"
    dependencies.mkdir()
    for place in ours:
        for entry in place.iterdir():
            if "hailbox" not in entry.name and not (dependencies / entry.name).exists():
                (dependencies / entry.name).symlink_to(entry)
    for folder in (tmp_path / "venv" / "lib").glob("python3*/site-packages"):
        (folder / "dependencies.pth").write_text(f"{dependencies}\n")
    assert run([installed / "hailbox", "--version"], tmp_path).startswith("hailbox ")
    assert "s3" in run([installed / "hailbox", "profiles"], tmp_path)
    where = run(
        [installed / "python", "-c", "import hailbox, haild; print(hailbox.__file__, haild.__file__)"], tmp_path
    )
    assert all(path.startswith(str(tmp_path)) for path in where.split())
    context = (
        "from hailbox.images import context; from hailbox import resources; print(resources.directory('images'))"
    )
    assert run([installed / "python", "-c", context], tmp_path).startswith(str(tmp_path))
