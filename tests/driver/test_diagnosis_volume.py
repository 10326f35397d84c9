"""Data that is whole and not for our daemons as it is: of a later release, or of another user."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from hailbox.commands.up import up
from hailbox.doctor.examine import why
from hailbox.engine.fake import FakeEngine
from hailbox.engine.port import ContainerDetails, ContainerState, Helper
from hailbox.helper import volumecheck
from hailbox.helper.programs import own
from hailbox.helper.programs import volumecheck as program
from hailbox.model.errors import OtherReleaseError
from haild.chunkd import catalog as chunkd_catalog
from haild.chunkd import store as chunkd_store
from haild.cld import store as cld_store
from haild.iwhd.metadata import schema as iwhd_schema
from haild.tabled.metadata import schema as tabled_schema
from support.fakestack import MakeContext, container_of, set_state


def test_the_driver_knows_the_versions_of_the_daemons() -> None:
    assert volumecheck.DATABASES == {
        "cld": (cld_store.NAME, cld_store._VERSION),
        "chunkd": (chunkd_store.CATALOG, chunkd_catalog.SCHEMA_VERSION),
        "tabled": (tabled_schema.FILE_NAME, tabled_schema.VERSION),
        "iwhd": ("_db/iwhd.db", iwhd_schema.VERSION),
    }


@pytest.mark.parametrize("status", [1, 65])
@pytest.mark.parametrize("replica", ["cld-1", "chunkd-1", "tabled-1", "iwhd-1"])
def test_data_of_a_later_release_is_not_called_damaged(
    fake: FakeEngine, make_context: MakeContext, replica: str, status: int
) -> None:
    context = make_context()
    up(context)
    latest = volumecheck.DATABASES[replica.partition("-")[0]][1]
    fake.work = lambda helper: f"writable 10001 {latest + 1}".encode() if "-volumecheck-" in helper.name else b""
    context.watch.sick.add(replica)  # type: ignore[attr-defined]
    fake.details[container_of(fake, replica).id] = ContainerDetails(status, False, "", 1.7e9, 1.7e9, 3, 0)
    set_state(fake, replica, ContainerState.RESTARTING)
    (error,) = why(context).errors
    with pytest.raises(OtherReleaseError) as caught:
        up(context)
    assert (error.code, caught.value.code) == ("other-release", "other-release")
    told = caught.value.problem + caught.value.remedy
    assert f"version {latest + 1}" in told
    assert "nothing is damaged" in told
    assert "reset" not in told
    assert "discard" not in told


def test_a_volume_of_another_user_is_given_back(fake: FakeEngine, make_context: MakeContext) -> None:
    context = make_context()
    up(context)
    context.watch.sick.add("chunkd-1")  # type: ignore[attr-defined]
    fake.details[container_of(fake, "chunkd-1").id] = ContainerDetails(74, False, "", 1.7e9, 1.7e9, 3, 0)
    given: list[Helper] = []

    def work(helper: Helper) -> bytes:
        if "-own-" in helper.name:
            given.append(helper)
            context.watch.sick.clear()  # type: ignore[attr-defined]
            fake.details.clear()
        return b"writable 0 1" if "-volumecheck-" in helper.name else b""

    fake.work = work
    (error,) = why(context).errors
    assert (error.code, error.remedy) == ("wrong-owner", "give the data back to it: hailbox --stack test up")
    assert up(context).working
    assert [dict(helper.mounts) for helper in given] == [{"hailbox-test-chunkd-1": "/volume"}]
    assert given[0].command[-1] == "10001"


def test_the_program_reads_versions(tmp_path: Path) -> None:
    def made(name: str, number: int) -> None:
        connection = sqlite3.connect(tmp_path / name)
        connection.executescript(f"CREATE TABLE t (x); PRAGMA user_version = {number};")
        connection.close()

    assert program.version(str(tmp_path / "a")) == "-"
    made("a", 3)
    assert program.version(str(tmp_path / "a")) == "3"
    made("a-2", 4)
    made("a-10", 5)
    (tmp_path / "a-wal").touch()
    assert program.version(str(tmp_path / "a")) == "5"
    (tmp_path / "b").write_bytes(bytes(200))
    assert program.version(str(tmp_path / "b")) == "-"
    assert program.look(str(tmp_path)) == "writable"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_the_program_gives_all_and_follows_no_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.touch()
    volume = tmp_path / "volume"
    (volume / "a").mkdir(parents=True)
    (volume / "a" / "link").symlink_to(outside)
    (volume / "a" / "file").touch()
    own.give(str(volume), 10001)
    assert {path.lstat().st_uid for path in (volume, *volume.rglob("*"))} == {10001}
    assert outside.stat().st_uid == 0
