"""The ladder: restart, re-create, then refuse with the one command that discards. Roots, not followers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from hailbox.commands.up import up
from hailbox.context import Context
from hailbox.diagnosis import evidence
from hailbox.diagnosis.roots import roots
from hailbox.engine.fake import FakeEngine
from hailbox.engine.port import ContainerDetails, ContainerState, Helper
from hailbox.model import names
from hailbox.model.errors import (
    ClockSkewError,
    DataDamagedError,
    DiskFullError,
    NotWorkingError,
    VolumeFullError,
    VolumeReadOnlyError,
)
from hailbox.model.progress import Phase, Progress
from hailbox.probe import patience
from hailbox.stack.definitions import load_catalog
from support.fakestack import MakeContext


class Patient:
    """A stack in which some replicas do not work until something certain is done to their root."""

    def __init__(self, fake: FakeEngine, context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fake = fake
        self.context = context
        self.probes: Any = context.watch
        """Those of conftest, which have the set `sick`."""
        self.restarted: list[str] = []
        self.recreated: list[str] = []
        self.cured_by_restart: dict[str, set[str]] = {}
        self.cured_by_recreation: dict[str, set[str]] = {}
        restart, remove = fake.restart_container, fake.remove_container

        def restart_container(identifier: str, *, stop_timeout: int) -> None:
            replica = fake.all_containers[identifier].labels[names.REPLICA]
            restart(identifier, stop_timeout=stop_timeout)
            self.restarted.append(replica)
            self.probes.sick -= self.cured_by_restart.get(replica, set())

        def remove_container(identifier: str) -> None:
            replica = fake.all_containers[identifier].labels.get(names.REPLICA)
            remove(identifier)
            if replica is not None:  # else a helper
                self.recreated.append(replica)
                self.probes.sick -= self.cured_by_recreation.get(replica, set())

        monkeypatch.setattr(fake, "restart_container", restart_container)
        monkeypatch.setattr(fake, "remove_container", remove_container)
        monkeypatch.setattr(fake, "remove_volume", lambda name: pytest.fail(f"volume {name} was removed"))

    def data(self) -> set[int]:
        return {content.written for content in self.fake.contents.values()}


@pytest.fixture
def patient(fake: FakeEngine, make_context: MakeContext, monkeypatch: pytest.MonkeyPatch) -> Iterator[Patient]:
    context = make_context()
    up(context)
    for name in fake.contents:
        fake.contents[name] = replace(fake.contents[name], written=1)
    found = Patient(fake, context, monkeypatch)
    yield found
    assert found.data() == {1}


def test_a_restart_cures(patient: Patient) -> None:
    patient.probes.sick = {"tabled-1"}
    patient.cured_by_restart = {"tabled-1": {"tabled-1"}}
    result = up(patient.context)
    assert result.working
    assert result.healed == ("tabled-1",)
    assert (patient.restarted, patient.recreated) == (["tabled-1"], [])


def test_only_the_root_is_restarted_and_its_followers_get_well(patient: Patient) -> None:
    everybody = {"cld-1", "chunkd-1", "tabled-1", "iwhd-1"}
    patient.probes.sick = set(everybody)
    patient.cured_by_restart = {"cld-1": everybody}
    result = up(patient.context)
    assert result.working
    assert set(result.healed) == everybody
    assert (patient.restarted, patient.recreated) == (["cld-1"], [])


def test_a_new_container_cures_what_a_restart_does_not(patient: Patient) -> None:
    before = {c.labels[names.REPLICA]: c.id for c in patient.fake.all_containers.values()}
    patient.probes.sick = {"chunkd-1", "tabled-1", "iwhd-1"}
    patient.cured_by_recreation = {"chunkd-1": {"chunkd-1", "tabled-1", "iwhd-1"}}
    assert up(patient.context).working
    assert patient.restarted == ["chunkd-1"]
    assert set(patient.recreated) <= {"chunkd-1", "credentials"}
    after = {c.labels[names.REPLICA]: c.id for c in patient.fake.all_containers.values()}
    assert after.keys() == before.keys()
    assert {replica for replica in after if after[replica] != before[replica]} == set(patient.recreated)


def test_a_second_root_that_shows_behind_the_first_is_healed_too(patient: Patient) -> None:
    patient.probes.sick = {"chunkd-1", "tabled-1"}
    patient.cured_by_restart = {"chunkd-1": {"chunkd-1"}}
    patient.cured_by_recreation = {"tabled-1": {"tabled-1"}}
    assert up(patient.context).working
    assert patient.restarted == ["chunkd-1"]
    assert "tabled-1" in patient.recreated
    assert "chunkd-1" not in patient.recreated


def test_what_cannot_be_healed_is_told_with_root_followers_and_the_next_command(patient: Patient) -> None:
    patient.probes.sick = {"chunkd-1", "tabled-1", "iwhd-1"}
    with pytest.raises(NotWorkingError) as caught:
        up(patient.context)
    assert not isinstance(caught.value, DataDamagedError)
    assert caught.value.problem == (
        "chunkd-1 runs and does not answer: no answer; iwhd-1, tabled-1 wait for it; "
        "tried: restart of chunkd-1, re-create of chunkd-1"
    )
    assert caught.value.remedy == (
        "see all that it said: hailbox --stack test logs chunkd-1; no data is lost; "
        "report it with: hailbox --stack test doctor --bundle FILE"
    )


def test_damaged_data_is_never_discarded_but_the_command_is_named(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient.probes.sick = {"tabled-1"}
    details = patient.fake.container_details

    def refuses_its_data(identifier: str) -> ContainerDetails:
        status = evidence.DAMAGED_DATA
        return replace(details(identifier), exit_code=status, restart_count=4)

    monkeypatch.setattr(patient.fake, "container_details", refuses_its_data)
    said = [b"2026-01-01T00:00:00Z tabled: /var/lib/tabled/meta.db: the file is damaged"]
    monkeypatch.setattr(patient.fake, "logs", lambda identifier, **options: iter(said))
    with pytest.raises(DataDamagedError) as caught:
        up(patient.context)
    assert caught.value.problem.endswith("; its last lines:\n  tabled: /var/lib/tabled/meta.db: the file is damaged")
    assert caught.value.remedy == ("discard its data and start it empty: hailbox --stack test reset tabled-1")


def test_a_container_that_ran_out_of_memory_is_told_of(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    patient.probes.sick = {"iwhd-1"}
    details = patient.fake.container_details
    monkeypatch.setattr(
        patient.fake, "container_details", lambda identifier: replace(details(identifier), out_of_memory=True)
    )
    with pytest.raises(NotWorkingError) as caught:
        up(patient.context)
    assert "its container ran out of memory" in caught.value.problem


def test_services_read_credentials_that_had_to_be_made_anew(patient: Patient) -> None:
    volume = "hailbox-test-credentials"
    patient.fake.contents[volume] = replace(patient.fake.contents[volume], credentials=None)
    assert up(patient.context).working
    assert sorted(patient.restarted) == ["chunkd-1", "cld-1", "iwhd-1", "tabled-1"]
    assert patient.recreated == []
    patient.restarted.clear()
    assert up(patient.context).working
    assert patient.restarted == []


def test_also_when_compose_makes_the_credentials_anew(patient: Patient) -> None:
    """It starts the one-shot container whenever it runs; a container that it re-creates has read the new ones."""
    volume = "hailbox-test-credentials"
    patient.fake.contents[volume] = replace(patient.fake.contents[volume], credentials=None)
    (gone,) = [c for c in patient.fake.all_containers.values() if c.labels[names.REPLICA] == "tabled-1"]
    del patient.fake.all_containers[gone.id]
    assert up(patient.context).working
    assert sorted(patient.restarted) == ["chunkd-1", "cld-1", "iwhd-1"]


def test_a_frozen_container_is_let_go_on(patient: Patient) -> None:
    (frozen,) = [c for c in patient.fake.all_containers.values() if c.labels[names.REPLICA] == "cld-1"]
    patient.fake.all_containers[frozen.id] = replace(frozen, state=ContainerState.PAUSED)
    assert up(patient.context).working
    assert patient.fake.all_containers[frozen.id].state is ContainerState.RUNNING


def test_progress_tells_what_is_tried(patient: Patient) -> None:
    patient.probes.sick = {"tabled-1"}
    patient.cured_by_recreation = {"tabled-1": {"tabled-1"}}
    told: list[Progress] = []
    up(replace(patient.context, report=told.append))
    steps = [(step.subject, step.detail) for step in told if step.phase is Phase.HEALING]
    assert steps == [("tabled-1", "restart: no answer"), ("tabled-1", "re-create: no answer")]


@pytest.mark.parametrize(
    ("sick", "found"),
    [
        (["cld-1"], ["cld-1"]),
        (["iwhd-1", "tabled-1", "chunkd-1", "cld-1"], ["cld-1"]),
        (["tabled-1", "iwhd-1"], ["tabled-1"]),
        (["chunkd-1", "chunkd-2", "iwhd-1"], ["chunkd-1", "chunkd-2", "iwhd-1"]),
        (["chunkd-2", "tabled-1"], ["chunkd-2"]),
        ([], []),
    ],
    ids=str,
)
def test_roots(sick: list[str], found: list[str]) -> None:
    catalog = load_catalog()
    profile = catalog.profile("s3").scaled({"chunkd": 2})
    assert roots(sick, profile, catalog) == found


def test_roots_of_a_profile_without_what_they_need() -> None:
    catalog = load_catalog()
    assert roots(["iwhd-1"], catalog.profile("fs"), catalog) == ["iwhd-1"]


def test_containers_that_lost_their_network_are_made_anew(
    fake: FakeEngine, make_context: Callable[..., Context]
) -> None:
    """Compose would make the network again, and leave the containers outside it."""
    context = make_context()
    up(context)
    fake.all_networks.clear()
    before = {c.labels[names.REPLICA]: c.id for c in fake.all_containers.values()}
    for identifier, container in fake.all_containers.items():
        fake.all_containers[identifier] = replace(container, networks=())
    assert up(context).working
    after = {c.labels[names.REPLICA]: c for c in fake.all_containers.values()}
    for replica in ("cld-1", "chunkd-1", "tabled-1", "iwhd-1"):
        assert after[replica].id != before[replica]
        assert after[replica].networks == ("hailbox-test",)
    assert after["credentials"].id == before["credentials"]


def test_a_wrong_clock_is_named_and_nothing_is_restarted_for_it(patient: Patient) -> None:
    patient.probes.skew = {"tabled-1": 3600.0}
    with pytest.raises(ClockSkewError) as caught:
        up(patient.context)
    assert caught.value.problem.startswith("tabled-1 works, but refuses every request of ours")
    assert (patient.restarted, patient.recreated) == ([], [])


def test_beside_a_wrong_clock_the_others_are_healed(patient: Patient) -> None:
    patient.probes.skew = {"tabled-1": 3600.0}
    patient.probes.sick = {"chunkd-1"}
    patient.cured_by_restart = {"chunkd-1": {"chunkd-1"}}
    with pytest.raises(ClockSkewError):
        up(patient.context)
    assert (patient.restarted, patient.recreated) == (["chunkd-1"], [])


def test_a_disk_that_stays_full_is_named_and_no_data_given_up(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient.probes.sick = {"chunkd-1"}
    monkeypatch.setattr(patient.fake, "run_helper", lambda helper, *, deadline: b"full\n")
    with pytest.raises(VolumeFullError) as caught:
        up(patient.context)
    assert "chunkd-1" in caught.value.problem
    assert "free some space" in caught.value.remedy
    assert "reset" not in caught.value.remedy


def test_a_volume_that_cannot_be_written_is_named_before_its_container_is_made_anew(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient.probes.sick = {"cld-1", "chunkd-1"}
    monkeypatch.setattr(patient.fake, "run_helper", lambda helper, *, deadline: b"read-only\n")
    with pytest.raises(VolumeReadOnlyError) as caught:
        up(patient.context)
    assert caught.value.problem.startswith("cld-1 cannot write")
    assert "chunkd-1 waits for it" in caught.value.problem
    assert "reset" not in caught.value.remedy
    assert (patient.restarted, patient.recreated) == (["cld-1"], [])


def test_on_a_full_disk_no_container_is_removed_that_could_not_be_made_anew(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(helper: Helper, *, deadline: float) -> bytes:
        raise DiskFullError("the engine's disk is full", "free some space")

    patient.probes.sick = {"chunkd-1"}
    monkeypatch.setattr(patient.fake, "run_helper", refuse)
    with pytest.raises(DiskFullError):
        up(patient.context)
    assert patient.recreated == []


@pytest.mark.parametrize(("strain", "restarted"), [(1.0, ["tabled-1"]), (4.0, [])])
def test_on_an_overloaded_host_a_slow_start_is_not_taken_for_an_illness(
    fake: FakeEngine, make_context: MakeContext, monkeypatch: pytest.MonkeyPatch, strain: float, restarted: list[str]
) -> None:
    """tabled works after 40 seconds of probing; on a host that keeps up it is restarted after 20."""
    context = make_context()
    patient = Patient(fake, context, monkeypatch)
    patient.probes.sick = {"tabled-1"}
    patient.cured_by_restart = {"tabled-1": {"tabled-1"}}
    probed, attempts = 0.0, set()

    def watch(targets: Any, credentials: Any, *, deadline: float, on_change: Any) -> Any:
        nonlocal probed
        attempts.add(patience.attempt_deadline())
        probed += deadline
        if probed > 40:
            patient.probes.sick = set()
        return patient.probes(targets, credentials, deadline=deadline, on_change=on_change)

    monkeypatch.setattr(patience, "strain", lambda: strain)
    assert up(replace(context, watch=watch)).working
    assert patient.restarted == restarted
    assert attempts == {patience.ATTEMPT_DEADLINE, patience.ATTEMPT_DEADLINE * strain}


def test_patience_has_an_end_also_on_an_overloaded_host(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "strain", lambda: patience.LIMIT)
    patient.probes.sick = {"tabled-1"}
    with pytest.raises(NotWorkingError):
        up(patient.context)
    assert patient.restarted == ["tabled-1"]
