"""What a service has of the user's own: in the Compose file, in the record, and what changes with it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hailbox.model import names, overrides
from hailbox.model.catalog import ONE_SHOT
from hailbox.model.compose import Blueprint, configuration_files, preferred_port, services
from hailbox.model.config import Config, Limits, Override
from hailbox.stack.definitions import load_catalog

CATALOG = load_catalog()


def blueprint(found: overrides.Recorded, **more: Any) -> Blueprint:
    profile = CATALOG.profile("s3").scaled({"chunkd": 2})
    return Blueprint(
        stack="x",
        profile=profile,
        catalog=CATALOG,
        images={service: f"hailbox/{service}:1" for service in (*profile.services, ONE_SHOT)},
        ports={
            (replica.name, port.name): preferred_port(port, replica)
            for replica in profile.replicas
            for port in CATALOG.services[replica.service].ports
        },
        overrides=found,
        **more,
    )


def rendered(found: overrides.Recorded, replica: str, **more: Any) -> dict[str, Any]:
    return services(blueprint(found, **more))[replica]


def test_a_replica_has_its_own_over_its_service_s() -> None:
    found = {
        "chunkd": {"environment": {"A": 1, "B": 2}, "limits": {"memory": "1g"}, "command": ["-F"]},
        "chunkd-2": {"environment": {"B": 3}, "limits": {"cpus": 2.0}, "command": ["-E", "@files@/chunkd.conf", 5]},
    }
    first, second = rendered(found, "chunkd-1"), rendered(found, "chunkd-2")
    assert first["command"] == ["-F"]
    assert first["mem_limit"] == second["mem_limit"] == "1g"
    assert second["cpus"] == 2.0
    assert "cpus" not in first
    assert {"A": "1", "B": "2"}.items() <= first["environment"].items()
    assert {"A": "1", "B": "3"}.items() <= second["environment"].items()
    place, _ = configuration_files(blueprint(found), blueprint(found).profile.replicas[2])
    assert second["command"] == ["-E", f"{names.CREDENTIALS_DIRECTORY}/{place}/chunkd.conf", "5"]


def test_only_what_is_changed_gets_another_digest() -> None:
    def digests(found: overrides.Recorded) -> dict[str, str]:
        return {name: entry["labels"][names.DIGEST] for name, entry in services(blueprint(found)).items()}

    before, after = digests({}), digests({"iwhd": {"limits": {"pids": 20}}})
    assert {name for name in before if before[name] != after[name]} == {"iwhd-1", ONE_SHOT}


def test_a_configuration_of_the_user_s_own_keeps_its_placeholders() -> None:
    mine = blueprint({"tabled": {"config": "<Key>@CLD_SECRET@</Key> @replica@ @files@"}})
    (tabled,) = [replica for replica in mine.profile.replicas if replica.service == "tabled"]
    place, files = configuration_files(mine, tabled)
    text = files[f"{place}/tabled.conf"]
    assert text == f"<Key>@CLD_SECRET@</Key> tabled-1 {names.CREDENTIALS_DIRECTORY}/{place}"
    assert f"{place}/tabled.users" in files


def test_a_checkout_is_mounted_and_reloaded() -> None:
    found = {"iwhd": {"source": "/home/me/hailbox"}}
    definition = rendered(found, "iwhd-1", reload_program="print()")
    assert "/home/me/hailbox/src/haild:/opt/hailbox/haild:ro" in definition["volumes"]
    assert definition["entrypoint"] == ["python3", "-c", "print()", "haild.iwhd"]


def test_a_built_image_takes_the_place_of_ours() -> None:
    found = {"chunkd": {"build": {"context": "/a"}}, "chunkd-2": {"build": {"context": "/b"}}}
    built = {"chunkd": "hailbox-own/x-chunkd:1", "chunkd-2": "hailbox-own/x-chunkd-2:2"}
    assert rendered(found, "chunkd-1", built=built)["image"] == "hailbox-own/x-chunkd:1"
    assert rendered(found, "chunkd-2", built=built)["image"] == "hailbox-own/x-chunkd-2:2"
    assert rendered(found, "iwhd-1", built=built)["image"] == "hailbox/iwhd:1"


def test_what_is_chosen_is_recorded_and_holds_until_it_is_chosen_again() -> None:
    first = Config(services={"cld": Override(command=("-F", 1)), "iwhd": Override(limits=Limits(memory="1g"))})
    chosen = overrides.chosen({}, first)
    label = services(blueprint(chosen))[ONE_SHOT]["labels"][names.OVERRIDES]
    assert overrides.recorded(label) == chosen
    assert overrides.chosen(chosen, Config()) == chosen
    second = Config(services={"cld": Override()})
    assert overrides.chosen(chosen, second) == {"iwhd": {"limits": {"memory": "1g"}}}


def test_the_image_of_a_service_is_recorded_with_the_images() -> None:
    config = Config(services={"cld": Override(image="a"), "cld-1": Override(image="b")})
    assert overrides.chosen({}, config) == {"cld-1": {"image": "b"}}


@pytest.mark.parametrize("label", [None, "", "{", "[]", '{"cld": 5}', '{"cld": {"unknown": 1}}'])
def test_a_damaged_label_chooses_nothing(label: str | None) -> None:
    assert not any(overrides.recorded(label).values())


def test_no_overrides_no_label() -> None:
    assert names.OVERRIDES not in services(blueprint({}))[ONE_SHOT]["labels"]
    assert services(replace(blueprint({}), reload_program="x")) == services(blueprint({}))
