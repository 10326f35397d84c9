"""Verbs of daily use on the in-memory engine, and the options that all commands have."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from hailbox.cli import progress, render
from hailbox.commands.config import settings
from hailbox.commands.open import address
from hailbox.commands.preview import preview
from hailbox.commands.restart import restart
from hailbox.commands.run import run as run_with_stack
from hailbox.commands.status import wait
from hailbox.commands.up import up
from hailbox.engine.fake import FakeEngine
from hailbox.engine.port import ContainerState
from hailbox.model import names
from hailbox.model.config import Build, Config, Limits, Override
from hailbox.model.errors import NotWorkingError, UnknownServiceError, UnknownStackError, UsageError
from hailbox.model.progress import Phase, Progress
from hailbox.stack.configfile import Loaded
from support.cli_program import run
from support.fakestack import MakeContext, Removals, container_of, set_state


def test_restart_takes_services_and_replicas_and_leaves_the_others(
    fake: FakeEngine, make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    up(make_context(scale={"chunkd": 2}))
    restarted: list[str] = []
    original = fake.restart_container

    def note(identifier: str, *, stop_timeout: int) -> None:
        restarted.append(fake.all_containers[identifier].labels[names.REPLICA])
        original(identifier, stop_timeout=stop_timeout)

    monkeypatch.setattr(fake, "restart_container", note)
    result = restart(make_context(), ["chunkd", "iwhd-1"])
    assert sorted(restarted) == ["chunkd-1", "chunkd-2", "iwhd-1"]
    assert result.working
    assert sorted(result.changed) == ["chunkd-1", "chunkd-2", "iwhd-1"]
    with pytest.raises(UnknownServiceError):
        restart(make_context(), ["mongo"])
    with pytest.raises(UnknownStackError):
        restart(make_context(stack="other"), [])


def test_wait_for_some_services_does_not_ask_for_the_others(fake: FakeEngine, make_context: MakeContext) -> None:
    up(make_context())
    set_state(fake, "iwhd-1", ContainerState.EXITED)
    assert not wait(make_context(), deadline=0, wanted=["tabled", "cld-1"]).working
    with pytest.raises(NotWorkingError):
        wait(make_context(), deadline=0, wanted=["iwhd"])
    with pytest.raises(UnknownServiceError):
        wait(make_context(), deadline=0, wanted=["mongo"])


def test_config_tells_what_is_in_force_and_from_where(make_context: MakeContext) -> None:
    before = {entry.key: (entry.value, entry.origin) for entry in settings(make_context(), Loaded(Config()), {})}
    assert before == {
        "stack": ("test", "default"),
        "profile": ("s3", "default"),
        "scale": ({}, "default"),
        "ports": ({}, "default"),
        "images": ({}, "default"),
        "without": (None, "default"),
        "seed": (None, "default"),
        "credentials": (None, "default"),
        "images_from": (None, "default"),
        "services": ({}, "default"),
    }
    chosen = {"iwhd": Override(limits=Limits(pids=99))}
    up(make_context(profile="fs", scale={"iwhd": 2}, services=chosen))
    given = {"stack": "--stack"}
    after = {entry.key: (entry.value, entry.origin) for entry in settings(make_context(), Loaded(Config()), given)}
    assert after == before | {
        "stack": ("test", "--stack"),
        "profile": ("fs", "stack test"),
        "scale": ({"iwhd": 2}, "stack test"),
        "credentials": ("random", "stack test"),
        "services": ({"iwhd": {"limits": {"pids": 99}}}, "stack test"),
    }


def test_run_removes_the_stack_that_it_made_and_no_other(
    fake: FakeEngine, make_context: MakeContext, tmp_path: Path
) -> None:
    said = tmp_path / "said"
    command = ["sh", "-c", f"echo $HAILBOX_STACK $IWHD_URL > {said}; exit 3"]
    ended = run_with_stack(make_context(profile="fs"), command)
    assert (ended.status, ended.destroyed) == (3, True)
    assert signal.getsignal(signal.SIGINT) == signal.default_int_handler
    assert said.read_text().startswith("test http://127.0.0.1:")
    assert not fake.all_containers
    assert not fake.all_volumes
    up(make_context(profile="fs"))
    assert run_with_stack(make_context(), ["true"]).destroyed is False
    assert container_of(fake, "iwhd-1")


def test_run_keeps_the_stack_where_asked(fake: FakeEngine, make_context: MakeContext) -> None:
    ended = run_with_stack(make_context(profile="fs"), ["sh", "-c", "kill -9 $$"], keep=True)
    assert (ended.status, ended.destroyed) == (137, False)
    assert container_of(fake, "iwhd-1")


def test_run_of_what_is_no_program_leaves_nothing(fake: FakeEngine, make_context: MakeContext) -> None:
    with pytest.raises(UsageError, match="nonsense cannot be run"):
        run_with_stack(make_context(profile="fs"), ["nonsense"])
    assert not fake.all_containers


def test_the_address_to_open(make_context: MakeContext) -> None:
    up(make_context(profile="failover"))
    assert address(make_context(), "iwhd") == address(make_context(), "iwhd-1") != address(make_context(), "iwhd-2")
    assert address(make_context(), "tabled").startswith("http://127.0.0.1:")
    for service in ("cld", "mongo"):
        with pytest.raises(UnknownServiceError):
            address(make_context(), service)


def test_init_writes_a_file_once(tmp_path: Path) -> None:
    assert run(tmp_path, "init").status == 0
    assert "# scale: {chunkd: 3}" in (tmp_path / "hailbox.yaml").read_text()
    ended = run(tmp_path, "init")
    assert (ended.status, ended.error()[0]) == (2, "bad-usage")
    assert run(tmp_path, "config", "--json").document()["data"][0]["value"] == "hail"


def test_config_prints_the_schema(tmp_path: Path) -> None:
    assert json.loads(run(tmp_path, "config", "--schema").out)["title"] == "hailbox.yaml"


@pytest.mark.parametrize("words", [["--file", "mine", "config"], ["config", "-f", "mine"], ["config", "--file=mine"]])
def test_a_file_can_be_named(tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "mine").write_text("stack: mine\n")
    ended = run(tmp_path, *words)
    assert ended.status == 0, ended.err
    assert "mine   mine:1:8" in ended.out


def test_the_file_of_the_environment(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("stack: mine\n")
    assert "mine" in run(tmp_path, "config", variables={"HAILBOX_FILE": "mine"}).out
    refused = run(tmp_path, "config", variables={"HAILBOX_FILE": "none"})
    assert (refused.status, refused.error()[0]) == (2, "bad-configuration")


def test_the_f_of_logs_is_still_to_follow(tmp_path: Path) -> None:
    ended = run(tmp_path, "logs", "-f", "--file", "none")
    assert (ended.status, ended.error()[0]) == (2, "bad-configuration")


def test_an_empty_stack_is_refused_and_not_taken_for_the_default(tmp_path: Path) -> None:
    for words in (["--stack", "", "config"], ["config", "--stack="]):
        ended = run(tmp_path, *words)
        assert (ended.status, ended.error()[:2]) == (2, ("bad-usage", "--stack is given, but empty"))


def test_options_come_from_the_environment_too(tmp_path: Path) -> None:
    assert run(tmp_path, "config", variables={"HAILBOX_JSON": "1"}).document()["status"] == "ok"
    refused = run(tmp_path, "up", variables={"HAILBOX_SCALE": "chunkd=2 iwhd=x"})
    assert "'iwhd=x' is not NAME=NUMBER" in refused.error()[1]
    refused = run(tmp_path, "wait", variables={"HAILBOX_WAIT_TIMEOUT": "-1"})
    assert refused.status == 2
    assert run(tmp_path, "wait", "--timeout", "0", variables={"HAILBOX_TIMEOUT": "-1"}).status != 2


def test_a_dry_run_of_up_says_what_up_then_does(
    fake: FakeEngine, make_context: MakeContext, tmp_path: Path, removals: Removals
) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    own = {"iwhd": Override(build=Build(str(tmp_path)))}
    images, before = dict(fake.all_images), list(fake.all_containers)
    foreseen = preview(make_context(profile="fs", services=own))
    assert [image.partition(":")[0] for image in foreseen.images] == ["hailbox-own/test-iwhd"]
    assert (fake.all_images, list(fake.all_containers)) == (images, before)
    done = up(make_context(profile="fs", services=own))
    assert set(done.changed) == set(foreseen.changed)
    assert foreseen.images[0] in fake.all_images
    nothing = preview(make_context())
    assert (nothing.images, nothing.changed, nothing.lost) == ((), (), ())
    assert render.preview(nothing) == "stack test, profile fs: an up would change nothing"
    assert preview(make_context(scale={"iwhd": 2})).changed
    assert removals.containers == []


def test_progress_as_json_is_an_object_on_each_line(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = progress.choose(silent=True, form=progress.Form.JSON)
    reporter.report(Progress("tabled-1", Phase.WORKING, 1.23456, 'a "word"'))
    reporter.report(Progress("x", Phase.FAILED, 2.0))
    assert [json.loads(line) for line in capsys.readouterr().err.splitlines()] == [
        {"subject": "tabled-1", "phase": "working", "seconds": 1.235, "detail": 'a "word"'},
        {"subject": "x", "phase": "failed", "seconds": 2.0, "detail": ""},
    ]


def test_the_form_of_progress_can_be_chosen(tmp_path: Path) -> None:
    ended = run(tmp_path, "status", "--progress", "xml")
    assert (ended.status, ended.error()[0]) == (2, "bad-usage")
    assert isinstance(progress.choose(silent=False, form=progress.Form.NONE), progress.Silent)
    assert isinstance(progress.choose(silent=True, form=progress.Form.PLAIN), progress.Plain)
