"""Wheels are fetched with the real pip from a folder of wheels made here, and unpacked into the cache."""

from __future__ import annotations

import base64
import errno
import hashlib
import threading
import zipfile
from pathlib import Path

import pytest

from hailbox.images import cache, wheels
from hailbox.model.errors import DiskFullError, ImageError


def make_wheel(folder: Path, name: str, tag: str, files: dict[str, str]) -> Path:
    """A valid wheel of version 1 (Binary distribution format specification)."""
    info = f"{name}-1.dist-info"
    content = files | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    record = []
    for path, text in content.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record.append(f"{path},sha256={digest},{len(text)}")
    wheel = folder / f"{name}-1-{tag}.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in content.items():
            archive.writestr(path, text)
        archive.writestr(f"{info}/RECORD", "\n".join([*record, f"{info}/RECORD,,", ""]))
    return wheel


def make_lock(path: Path, *pinned: Path) -> Path:
    """A lock with the hashes of these wheels; several of one name are builds of it for several machines."""
    hashes: dict[str, str] = {}
    for wheel in pinned:
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        name = wheel.name.split("-")[0]
        hashes[name] = hashes.get(name, "") + f" --hash=sha256:{digest}"
    path.write_text("".join(f"{name}==1{allowed}\n" for name, allowed in hashes.items()))
    return path


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder from which the host's pip settings take all packages; the cache is empty."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


def test_the_wheels_for_the_image_are_taken_not_the_host_s(tmp_path: Path, index: Path) -> None:
    make_wheel(index, "fast", "cp311-cp311-manylinux_2_17_x86_64", {"fast.py": "for = 'the host'\n"})
    arm = make_wheel(index, "fast", "cp313-cp313-manylinux_2_28_aarch64", {"fast.py": "for_ = 'arm'\n"})
    intel = make_wheel(index, "fast", "cp313-cp313-manylinux_2_28_x86_64", {"fast.py": "for_ = 'intel'\n"})
    more = {"plain/__init__.py": "", "plain-1.data/purelib/more.py": "m = 1\n"}
    plain = make_wheel(index, "plain", "py3-none-any", more)
    lock = make_lock(tmp_path / "wheels.lock", arm, intel, plain)
    for architecture, expected in (("amd64", "intel"), ("arm64", "arm")):
        unpacked = wheels.ensure(lock, "3.13", architecture)
        assert (unpacked / "fast.py").read_text() == f"for_ = '{expected}'\n"
        assert (unpacked / "plain" / "__init__.py").exists()
        assert (unpacked / "more.py").read_text() == "m = 1\n"
        assert not list(unpacked.glob("*.data"))


def test_what_is_in_the_cache_is_not_fetched_again(tmp_path: Path, index: Path) -> None:
    wheel = make_wheel(index, "plain", "py3-none-any", {"plain.py": ""})
    lock = make_lock(tmp_path / "wheels.lock", wheel)
    first = wheels.ensure(lock, "3.13", "amd64")
    wheel.unlink()
    assert wheels.ensure(lock, "3.13", "amd64") == first
    assert wheels.pip()


def test_a_new_lock_replaces_the_old_one_and_what_a_killed_run_left(tmp_path: Path, index: Path) -> None:
    old = make_wheel(index, "old", "py3-none-any", {"old.py": ""})
    new = make_wheel(index, "new", "py3-none-any", {"new.py": ""})
    first = wheels.ensure(make_lock(tmp_path / "wheels.lock", old), "3.13", "amd64")
    (first.parent / "fetching-killed" / "wheels").mkdir(parents=True)
    second = wheels.ensure(make_lock(tmp_path / "wheels.lock", new), "3.13", "amd64")
    assert sorted(path.name for path in second.parent.iterdir() if path.is_dir()) == [second.name]


def test_a_wheel_that_is_not_the_pinned_one_is_refused_and_nothing_kept(tmp_path: Path, index: Path) -> None:
    wheel = make_wheel(index, "plain", "py3-none-any", {"plain.py": ""})
    lock = make_lock(tmp_path / "wheels.lock", wheel)
    make_wheel(index, "plain", "py3-none-any", {"plain.py": "evil = True\n"})
    with pytest.raises(ImageError) as caught:
        wheels.ensure(lock, "3.13", "amd64")
    assert "HASH" in caught.value.problem.upper()
    assert not [path for path in cache.directory().iterdir() if path.is_dir()]


def test_an_index_without_the_wheel_is_named_in_one_line(tmp_path: Path, index: Path) -> None:
    wheel = make_wheel(index, "plain", "py3-none-any", {"plain.py": ""})
    lock = make_lock(tmp_path / "wheels.lock", wheel)
    wheel.unlink()
    with pytest.raises(ImageError) as caught:
        wheels.ensure(lock, "3.13", "amd64")
    assert "plain" in caught.value.problem
    assert "\n" not in caught.value.problem


def test_two_runs_at_once_fetch_once(tmp_path: Path, index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = make_lock(tmp_path / "wheels.lock", make_wheel(index, "plain", "py3-none-any", {"plain.py": ""}))
    fetched = []
    download = wheels._download

    def counting(*arguments: object) -> None:
        fetched.append(arguments)
        download(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(wheels, "_download", counting)
    threads = [threading.Thread(target=wheels.ensure, args=(lock, "3.13", "amd64")) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(fetched) == 1


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_no_space_is_a_full_disk(tmp_path: Path, number: int) -> None:
    with pytest.raises(DiskFullError, match=str(tmp_path)), cache.writing(tmp_path):
        raise OSError(number, "no space")


def test_other_failures_to_write_say_what_could_not_be_written(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"cannot write .*missing"), cache.writing(tmp_path):
        (tmp_path / "missing" / "file").write_text("")


def test_a_relative_cache_directory_is_ignored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.directory() == tmp_path / ".cache" / "hailbox"
