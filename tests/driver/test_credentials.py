"""The one-shot program that makes a stack's credentials and the files with them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haild import credentials
from haild.credentials import FILE_NAME, LOST_NAME, fill, generate, load_or_make, main, write_files


def kept(directory: Path) -> dict[str, str]:
    found = json.loads((directory / FILE_NAME).read_text())
    assert isinstance(found, dict)
    return found


def test_generated_are_random_and_fit_everywhere() -> None:
    one, two = generate(), generate()
    assert one.keys() == two.keys()
    constant = {name for name in one if one[name] == two[name]}
    assert constant == {"CLD_USER"}
    for name, value in one.items():
        # Neither a shell, JSON, the XML-like configuration nor a line of users gives a special meaning to any.
        assert re.fullmatch(r"[A-Za-z0-9]+", value)
        if "SECRET" in name:
            assert len(value) == (43 if name == "ROOT_SECRET" else 40)  # 256 bits for encryption
    assert len(set(one.values())) == len(one)
    assert re.fullmatch(r"HAIL[A-Z0-9]{16}", one["AWS_ACCESS_KEY_ID"])


def test_secret_is_user_for_the_protocols_of_the_originals_only() -> None:
    found = generate(secret_is_user=True)
    assert found["CLD_SECRET"] == found["CLD_USER"]
    assert found["CHUNK_SECRET"] == found["CHUNK_USER"]
    assert len(found["AWS_SECRET_ACCESS_KEY"]) == 40


@pytest.mark.parametrize("rule", [False, True])
def test_kept_once_made(tmp_path: Path, rule: bool) -> None:
    first = load_or_make(tmp_path, secret_is_user=rule)
    before = (tmp_path / FILE_NAME).stat()
    assert load_or_make(tmp_path, secret_is_user=rule) == first == kept(tmp_path)
    after = (tmp_path / FILE_NAME).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns), "not written again"


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe", b"[]", b"null", b'"text"', b"5", b'{"AWS_ACCESS_KEY_ID": 5}', b"{}" * 2]
)
def test_damaged_are_made_anew(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    made = load_or_make(tmp_path, secret_is_user=False)
    assert made.keys() == generate().keys()
    assert kept(tmp_path) == made


def test_only_what_is_missing_is_made(tmp_path: Path) -> None:
    first = load_or_make(tmp_path, secret_is_user=False)
    cut = {name: value for name, value in first.items() if not name.startswith("PROBE")} | {"PROBE_ACCESS_KEY_ID": ""}
    (tmp_path / FILE_NAME).write_text(json.dumps(cut))
    second = load_or_make(tmp_path, secret_is_user=False)
    assert {name for name in first if first[name] != second[name]} == {
        "PROBE_ACCESS_KEY_ID",
        "PROBE_SECRET_ACCESS_KEY",
    }
    assert all(second.values())


def test_another_rule_changes_only_what_it_is_about(tmp_path: Path) -> None:
    first = load_or_make(tmp_path, secret_is_user=False)
    second = load_or_make(tmp_path, secret_is_user=True)
    assert second["CLD_SECRET"] == second["CLD_USER"]
    assert second["CHUNK_SECRET"] == second["CHUNK_USER"]
    assert {name: first[name] for name in first if "AWS" in name or "PROBE" in name} == {
        name: second[name] for name in second if "AWS" in name or "PROBE" in name
    }
    assert second == kept(tmp_path)
    third = load_or_make(tmp_path, secret_is_user=False)
    assert third["CLD_SECRET"] != third["CLD_USER"]
    assert third["CHUNK_SECRET"] != third["CHUNK_USER"]
    assert third == kept(tmp_path)
    # What a user has stored belongs to it.
    for user in ("CLD_USER", "CHUNK_USER"):
        assert first[user] == second[user] == third[user]


@given(st.dictionaries(st.sampled_from(sorted(generate())), st.none() | st.integers() | st.text(max_size=5)))
@settings(max_examples=20, deadline=None)
def test_whatever_the_file_holds_the_result_is_whole(tmp_path_factory: pytest.TempPathFactory, held: object) -> None:
    directory = tmp_path_factory.mktemp("credentials")
    (directory / FILE_NAME).write_text(json.dumps(held))
    made = load_or_make(directory, secret_is_user=False)
    assert made.keys() == generate().keys()
    assert all(isinstance(value, str) and value for value in made.values())
    assert made["CLD_SECRET"] != made["CLD_USER"]


def test_fill() -> None:
    found = {"A": "1", "B_C": "2"}
    assert fill("x@A@y@B_C@@A@ a@b.example @", found) == "x1y21 a@b.example @"
    with pytest.raises(KeyError):
        fill("@NO_SUCH@", found)


def test_files_are_filled_and_folders_of_earlier_configurations_go(tmp_path: Path) -> None:
    found = generate()
    write_files(tmp_path, {"cld-1-aa/users": "@CLD_USER@\t@CLD_SECRET@\n", "chunkd-1-bb/conf": "x"}, found)
    assert (tmp_path / "cld-1-aa/users").read_text() == f"{found['CLD_USER']}\t{found['CLD_SECRET']}\n"
    (tmp_path / FILE_NAME).write_text("{}")
    write_files(tmp_path, {"cld-1-cc/users": "new", "chunkd-1-bb/conf": "x"}, found)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["chunkd-1-bb", "cld-1-cc", FILE_NAME]


def test_a_file_is_replaced_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed at any step, a reader finds the old content or the new one, never a part."""
    write_files(tmp_path, {"a/conf": "old"}, {})
    steps: list[str] = []
    fsync, swap = os.fsync, Path.replace

    def note_fsync(descriptor: int) -> None:
        assert (tmp_path / "a/conf").read_text() == ("old" if "replace" not in steps else "new")
        steps.append("fsync")
        fsync(descriptor)

    def note_replace(source: Path, target: Path) -> Path:
        assert source.read_text() == "new"
        steps.append("replace")
        return swap(source, target)

    monkeypatch.setattr(credentials.os, "fsync", note_fsync)
    monkeypatch.setattr(Path, "replace", note_replace)
    write_files(tmp_path, {"a/conf": "new"}, {})
    assert steps == ["fsync", "replace", "fsync"], "content, then name, then directory"
    assert [entry.name for entry in (tmp_path / "a").iterdir()] == ["conf"]


def test_a_run_that_was_killed_leaves_nothing_that_disturbs_the_next(tmp_path: Path) -> None:
    (tmp_path / f".{FILE_NAME}.new").write_text('{"half')
    assert load_or_make(tmp_path, secret_is_user=False) == kept(tmp_path)


def test_as_the_container_runs_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "haild.credentials", "--directory", str(tmp_path)]
    files = ["--file", "cld-1-aa/cld.users", "@CLD_USER@\t@CLD_SECRET@\n", "--file", "x/y", "-- @CHUNK_USER@"]
    for _ in range(2):
        ended = subprocess.run([*command, *files], capture_output=True, text=True, check=True)
        assert (ended.stdout, ended.stderr) == ("", ""), "no credential may get into the log"
    found = kept(tmp_path)
    assert (tmp_path / "cld-1-aa/cld.users").read_text() == f"{found['CLD_USER']}\t{found['CLD_SECRET']}\n"
    assert (tmp_path / "x/y").read_text() == f"-- {found['CHUNK_USER']}"


def test_a_directory_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    assert main(["--directory", str(in_the_way)]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert str(in_the_way) in said.err
    assert len(said.err.splitlines()) == 1


# A damaged file, and the configuration files beside it

TEMPLATES = {
    "cld-1-aa/cld.users": "@CLD_USER@\t@CLD_SECRET@\n",
    "chunkd-1-bb/chunkd.conf": "<CLDUser>@CLD_USER@</CLDUser>\n<Check><User>@CHUNK_USER@</User></Check>\n",
    "chunkd-1-bb/chunkd.users": "@CHUNK_USER@\t@CHUNK_SECRET@\n",
    "tabled-1-cc/tabled.users": (
        "@AWS_ACCESS_KEY_ID@\t@AWS_SECRET_ACCESS_KEY@\n@PROBE_ACCESS_KEY_ID@\t@PROBE_SECRET_ACCESS_KEY@\n"
    ),
    "tabled-1-cc/tabled.conf": "<RootKey>@ROOT_SECRET@</RootKey>\n",
    "iwhd-1-dd/iwhd.json": '[{"key": "@AWS_ACCESS_KEY_ID@", "secret": "@AWS_SECRET_ACCESS_KEY@"}]\n',
}


def _run(directory: Path, templates: dict[str, str] = TEMPLATES) -> int:
    files = [argument for item in templates.items() for argument in ("--file", *item)]
    return main(["--directory", str(directory), *files])


@pytest.mark.parametrize("content", [b"", b"{", b'{"AWS_ACCESS_KEY_ID": "x', b"[]", None])
def test_damaged_or_gone_they_are_taken_from_the_files_beside(tmp_path: Path, content: bytes | None) -> None:
    assert _run(tmp_path) == 0
    first = kept(tmp_path)
    (tmp_path / FILE_NAME).unlink()
    if content is not None:
        (tmp_path / FILE_NAME).write_bytes(content)
    assert _run(tmp_path) == 0
    assert kept(tmp_path) == first
    assert not (tmp_path / LOST_NAME).exists()


def test_a_new_configuration_finds_them_in_the_files_of_the_one_before(tmp_path: Path) -> None:
    assert _run(tmp_path) == 0
    first = kept(tmp_path)
    (tmp_path / FILE_NAME).write_bytes(b"")
    changed = {name.replace("-1-", "-2-"): f"# new\n{text}# more\n" for name, text in TEMPLATES.items()}
    assert _run(tmp_path, changed) == 0
    assert kept(tmp_path) == first


def test_what_is_in_no_file_is_said_to_be_lost_until_it_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(tmp_path) == 0
    first = kept(tmp_path)
    (tmp_path / FILE_NAME).write_bytes(b"")
    (tmp_path / "chunkd-1-bb/chunkd.users").unlink()
    assert _run(tmp_path) == 0
    second = kept(tmp_path)
    assert {name for name in first if first[name] != second[name]} == {"CHUNK_SECRET"}
    assert json.loads((tmp_path / LOST_NAME).read_text()) == ["CHUNK_SECRET"]
    assert "LOST" in capsys.readouterr().err
    (tmp_path / FILE_NAME).write_bytes(b"")
    assert _run(tmp_path) == 0
    assert kept(tmp_path) == second
    assert not (tmp_path / LOST_NAME).exists()


def test_what_an_older_release_did_not_have_is_not_lost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    older = {name: text for name, text in TEMPLATES.items() if not name.endswith("tabled.conf")}
    assert _run(tmp_path, older) == 0
    first = kept(tmp_path)
    del first["ROOT_SECRET"]
    (tmp_path / FILE_NAME).chmod(0o600)
    (tmp_path / FILE_NAME).write_text(json.dumps(first))
    assert _run(tmp_path) == 0
    assert kept(tmp_path).items() > first.items()
    assert not (tmp_path / LOST_NAME).exists()
    assert "LOST" not in capsys.readouterr().err


def test_nothing_is_lost_at_the_first_start(tmp_path: Path) -> None:
    assert _run(tmp_path) == 0
    assert not (tmp_path / LOST_NAME).exists()


def test_only_their_owner_reads_the_files(tmp_path: Path) -> None:
    assert _run(tmp_path) == 0
    assert {file.stat().st_mode & 0o777 for file in tmp_path.rglob("*") if file.is_file()} == {0o400}
    assert _run(tmp_path) == 0


def test_the_token_of_iwhd_is_derived() -> None:
    one, two = generate(), generate()
    assert "IWHD_TOKEN" not in one
    filled = fill('{"token": "@IWHD_TOKEN@"}', one)
    assert re.fullmatch(r'\{"token": "[0-9a-f]{40}"\}', filled)
    assert fill('{"token": "@IWHD_TOKEN@"}', one) == filled != fill('{"token": "@IWHD_TOKEN@"}', two)
    assert one["AWS_SECRET_ACCESS_KEY"] not in filled


def test_a_group_alone_may_read_the_files_of_its_replica(tmp_path: Path) -> None:
    group = os.getgid()
    files = {"cld-1-abc/cld.users": "@CLD_USER@", "iwhd-1-def/iwhd.json": "@ROOT_SECRET@"}
    words = [word for name, text in files.items() for word in ("--file", name, text)]
    assert main(["--directory", str(tmp_path), "--group", "cld-1", str(group), *words]) == 0

    def mode(name: str) -> int:
        return (tmp_path / name).stat().st_mode & 0o777

    assert (mode("cld-1-abc"), mode("cld-1-abc/cld.users")) == (0o750, 0o440)
    assert (tmp_path / "cld-1-abc" / "cld.users").stat().st_gid == group
    assert (mode("."), mode("credentials.json")) == (0o711, 0o400)
    assert mode("iwhd-1-def/iwhd.json") == 0o400, "without a group it is for this user alone"
