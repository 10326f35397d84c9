"""Services that are left out, and what a daemon on this machine needs to take their place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hailbox.commands import hostdaemon
from hailbox.commands.status import status
from hailbox.commands.up import up
from hailbox.engine.fake import FakeEngine
from hailbox.model.errors import ConfigurationError, UnknownServiceError, UsageError
from hailbox.stack import configfile
from support.fakestack import MakeContext


def names_of(fake: FakeEngine) -> set[str]:
    return {container.name.removeprefix("hailbox-test-") for container in fake.all_containers.values()}


def test_left_out_until_asked_for_again(fake: FakeEngine, make_context: MakeContext) -> None:
    up(make_context())
    changed = up(make_context(without=("iwhd",)))
    assert changed.differences == ("without: none -> iwhd",)
    assert names_of(fake) == {"cld-1", "chunkd-1", "tabled-1", "credentials"}
    assert "hailbox-test-iwhd-1" in fake.all_volumes
    assert up(make_context()).changed == ()
    assert [replica.replica for replica in status(make_context()).replicas] == ["cld-1", "chunkd-1", "tabled-1"]
    up(make_context(without=()))
    assert "iwhd-1" in names_of(fake)


@pytest.mark.parametrize(
    ("without", "problem", "remedy"),
    [
        (("tabled",), "iwhd needs tabled, which is left out", "--without tabled --without iwhd"),
        (("cld", "chunkd"), "tabled needs cld, which is left out", "--without cld --without tabled"),
        (("cld", "chunkd", "tabled", "iwhd"), "all services of profile s3 are left out", "hailbox down"),
    ],
)
def test_what_cannot_be_left_out(
    make_context: MakeContext, without: tuple[str, ...], problem: str, remedy: str
) -> None:
    with pytest.raises(UsageError) as caught:
        up(make_context(without=without))
    assert problem in caught.value.problem
    assert remedy in caught.value.remedy


@pytest.mark.parametrize(
    ("services", "problem", "remedy"),
    [
        ("[tabled]", "iwhd needs tabled, which is left out", "without: [tabled, iwhd]"),
        ("[cld, chunkd, tabled, iwhd]", "all services of profile s3 are left out", "hailbox down"),
    ],
)
def test_a_file_is_told_where_it_leaves_out_too_little(
    make_context: MakeContext, tmp_path: Path, services: str, problem: str, remedy: str
) -> None:
    file = tmp_path / "hailbox.yaml"
    file.write_text(f"profile: s3\nwithout: {services}\n")
    with pytest.raises(ConfigurationError) as caught:
        up(make_context(without=configfile.load(tmp_path).config.without))
    assert caught.value.problem == f"{file}:2:10: {problem}"
    assert remedy in caught.value.remedy


def test_an_unknown_service(make_context: MakeContext) -> None:
    with pytest.raises(UnknownServiceError, match="profile fs has no service 'tabled' to leave out"):
        up(make_context(profile="fs", without=("tabled",)))


def test_what_names_a_service_that_is_left_out_is_no_mistake(make_context: MakeContext) -> None:
    up(make_context(without=("iwhd",), ports={"iwhd": 19090}))


def test_iwhd_reaches_tabled_by_its_port_here(make_context: MakeContext, tmp_path: Path) -> None:
    up(make_context(without=("iwhd",), ports={"tabled": 18080}))
    found = hostdaemon.configuration(make_context(), "iwhd")
    (primary,) = json.loads(found.files["iwhd.json"])
    assert (primary["host"], primary["port"]) == ("127.0.0.1", 18080)
    assert "@" not in primary["secret"]
    hostdaemon.write(found.at(str(tmp_path)), tmp_path)
    assert (tmp_path / "iwhd.json").stat().st_mode & 0o777 == 0o600
    assert found.at("/x").command == (
        "python3",
        "-m",
        "haild.iwhd",
        "-c",
        "/x/iwhd.json",
        "-d",
        "/x/data/_db",
        "-p",
        "9090",
    )


def test_one_more_chunkd_is_reached_from_containers(make_context: MakeContext) -> None:
    up(make_context(ports={"cld": 18081}))
    text = hostdaemon.configuration(make_context(), "chunkd").at("/x").files["chunkd.conf"]
    assert "<NID>2</NID>" in text
    assert "<InfoPath>/chunk-default/2</InfoPath>" in text
    assert "<CLD><Host>127.0.0.1</Host><Port>18081</Port></CLD>" in text
    assert "<ForceHost>192.0.2.1</ForceHost>" in text
    assert "<Path>/x/data</Path>" in text


def test_a_service_that_the_profile_does_not_have(make_context: MakeContext) -> None:
    up(make_context(profile="fs"))
    with pytest.raises(UnknownServiceError, match="profile fs has no service 'tabled'"):
        hostdaemon.configuration(make_context(), "tabled")
