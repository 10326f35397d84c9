"""The Compose file is a pure function of what a stack is made of, and safe by construction.

Run this file to write the golden files again; look at what changed before you commit them.
"""

from __future__ import annotations

import json
import re
import string
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import hailbox
from hailbox.model import names
from hailbox.model.catalog import ONE_SHOT, Catalog, Replica
from hailbox.model.compose import Blueprint, configuration_files, preferred_port, render, services, volumes
from hailbox.model.record import parse
from hailbox.stack.definitions import load_catalog
from haild.credentials import fill, generate

GOLDEN = Path(__file__).parent / "golden"
CATALOG = load_catalog()
PROFILES = sorted(CATALOG.profiles)


def blueprint(profile: str, stack: str = "golden", scale: Mapping[str, int] | None = None) -> Blueprint:
    scaled = CATALOG.profile(profile).scaled(scale or {})
    return Blueprint(
        stack=stack,
        profile=scaled,
        catalog=CATALOG,
        images={service: f"hailbox/{service}:0123456789abcdef" for service in (*scaled.services, ONE_SHOT)},
        ports={
            (replica.name, port.name): preferred_port(port, replica)
            for replica in scaled.replicas
            for port in CATALOG.services[replica.service].ports
        },
        scale=scale or {},
    )


def digests(of: Blueprint) -> dict[str, str]:
    return {name: definition["labels"][names.DIGEST] for name, definition in services(of).items()}


def changed(before: Blueprint, after: Blueprint) -> set[str]:
    old, new = digests(before), digests(after)
    return {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}


@pytest.fixture
def _constant_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hailbox, "__version__", "0.0.0")


@pytest.mark.usefixtures("_constant_version")
@pytest.mark.parametrize("profile", ["fs", "s3"])
def test_golden_file(profile: str) -> None:
    golden = (GOLDEN / f"compose-{profile}.yaml").read_text()
    assert render(blueprint(profile)) == golden, f"if that is meant: python {Path(__file__).name}, in its folder"


@given(
    order=st.permutations(["cld-1", "chunkd-1", "chunkd-2", "tabled-1", "iwhd-1"]),
    images=st.permutations(["cld", "chunkd", "tabled", "iwhd", ONE_SHOT]),
)
@settings(max_examples=15, deadline=None)
def test_order_of_what_goes_in_does_not_matter(order: list[str], images: list[str]) -> None:
    first = blueprint("s3", scale={"chunkd": 2})
    shuffled = replace(
        first,
        ports=dict(sorted(first.ports.items(), key=lambda item: order.index(item[0][0]))),
        images={service: first.images[service] for service in images},
    )
    assert render(shuffled) == render(first)


@pytest.mark.parametrize("profile", PROFILES)
def test_everything_is_published_on_the_loopback_address_only(profile: str) -> None:
    stack = blueprint(profile, scale={"iwhd": 2})
    published = [text for definition in services(stack).values() for text in definition.get("ports", [])]
    assert len(published) == len(set(published)) >= len(stack.profile.replicas)
    for text in published:
        assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+/(tcp|udp)", text)


@pytest.mark.parametrize("profile", PROFILES)
def test_every_container_has_no_more_rights_than_it_needs(profile: str) -> None:
    for definition in services(blueprint(profile)).values():
        assert definition["read_only"] is True
        assert definition["cap_drop"] == ["ALL"]
        assert definition["security_opt"] == ["no-new-privileges:true"]
        assert definition["pids_limit"] > 0
        assert re.fullmatch(r"\d+m", definition["mem_limit"])
        assert definition["logging"]["options"].keys() == {"max-size", "max-file"}
        forbidden = {"privileged", "cap_add", "devices", "pid", "ipc", "user", "userns_mode", "network_mode"}
        one_shot = definition["labels"][names.REPLICA] == ONE_SHOT
        assert definition.keys() & forbidden == ({"network_mode", "user", "cap_add"} if one_shot else set())
        if one_shot:  # it has no network and reads nothing of a client's, and gives files to groups
            assert (definition["user"], definition["network_mode"]) == ("0:0", "none")
            assert definition["cap_add"] == ["CHOWN", "DAC_OVERRIDE", "FOWNER"]
        for mount in definition["volumes"]:
            assert not mount.startswith(("/", ".", "~")), "only named volumes: no socket, nothing of the host"


def test_only_the_one_shot_container_may_write_the_credentials() -> None:
    for name, definition in services(blueprint("s3")).items():
        (mount,) = [mount for mount in definition["volumes"] if mount.startswith("credentials:")]
        assert mount.endswith(":ro") == (name != ONE_SHOT)
    assert services(blueprint("s3"))[ONE_SHOT]["network_mode"] == "none"


@pytest.mark.parametrize("profile", PROFILES)
def test_each_container_has_a_group_of_its_own_that_alone_may_read_its_files(profile: str) -> None:
    definitions = dict(services(blueprint(profile)))
    words = definitions.pop(ONE_SHOT)["command"]
    given = {words[at + 1]: words[at + 2] for at, word in enumerate(words) if word == "--group"}
    assert given == {name: group for name, entry in definitions.items() for group in entry["group_add"]}
    assert len(set(given.values())) == len(definitions)
    assert all(10_001 < int(group) < 65_536 for group in given.values())


@pytest.mark.parametrize("profile", PROFILES)
def test_no_credential_is_in_it(profile: str) -> None:
    stack = blueprint(profile)
    credentials = generate()
    text = render(stack)
    assert not [name for name, value in credentials.items() if len(value) > 10 and value in text]
    # What a file will hold is in the text as the credential's name only.
    for replica in stack.profile.replicas:
        for template in configuration_files(stack, replica)[1].values():
            assert not re.search(r"@[a-z]+@", template), "a placeholder of the topology was left"
            assert fill(template, credentials) != template or "@" not in template
    for definition in services(stack).values():
        assert definition.get("environment", {}).keys() <= {"HAILD_CONFIG_DEADLINE", "HAILD_EMPTYING"}


@given(text=st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30))
@settings(max_examples=40, deadline=None)
def test_what_compose_reads_is_what_was_meant(text: str) -> None:
    """Dollar signs are doubled, which Compose takes for one; all else survives as it is."""
    first = blueprint("fs")
    stack = replace(first, images=first.images | {"iwhd": f"own/{text}$HOME${{PATH}}"})
    read = yaml.safe_load(render(stack))["services"]["iwhd-1"]["image"]
    assert re.sub(r"\$\$", "", read).count("$") == 0
    assert read.replace("$$", "$") == stack.images["iwhd"]


def test_same_stack_same_digests() -> None:
    assert changed(blueprint("s3"), blueprint("s3")) == set()


def test_another_image_changes_its_service_only() -> None:
    before = blueprint("s3", scale={"chunkd": 2})
    after = replace(before, images=before.images | {"chunkd": "hailbox/chunkd:fedcba9876543210"})
    assert changed(before, after) == {"chunkd-1", "chunkd-2"}


def test_another_port_changes_that_replica_and_the_record() -> None:
    before = blueprint("s3")
    after = replace(before, ports=dict(before.ports) | {("tabled-1", "s3"): 28080})
    assert changed(before, after) == {"tabled-1", ONE_SHOT}
    assert services(after)[ONE_SHOT]["labels"][f"{names.PORT}tabled-1.s3"] == "28080"


def test_another_number_of_replicas_changes_only_what_is_new_and_the_record() -> None:
    assert changed(blueprint("s3"), blueprint("s3", scale={"chunkd": 3})) == {"chunkd-2", "chunkd-3", ONE_SHOT}


def test_another_configuration_changes_its_replicas_and_who_writes_it() -> None:
    before = blueprint("s3")
    iwhd = CATALOG.services["iwhd"]
    edited = iwhd.configurations["s3"] | {"iwhd.json": iwhd.configurations["s3"]["iwhd.json"] + "\n"}
    service = replace(iwhd, configurations=dict(iwhd.configurations) | {"s3": edited})
    after = replace(before, catalog=replace(CATALOG, services=dict(CATALOG.services) | {"iwhd": service}))
    assert changed(before, after) == {"iwhd-1", ONE_SHOT}
    places = [configuration_files(stack, Replica("iwhd", 1, "s3"))[0] for stack in (before, after)]
    assert places[0] != places[1], "a daemon must never read the file of an earlier configuration"


def test_another_version_of_hailbox_changes_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    before = digests(blueprint("s3"))
    monkeypatch.setattr(hailbox, "__version__", "99.0")
    after = digests(blueprint("s3"))
    assert all(before[name] != after[name] for name in before)


def test_definition_and_digest_belong_together() -> None:
    seen: dict[str, str] = {}
    for profile in PROFILES:
        for definition in services(blueprint(profile)).values():
            labels = dict(definition["labels"])
            digest = labels.pop(names.DIGEST)
            del labels[names.RECORD]
            text = json.dumps(definition | {"labels": labels}, sort_keys=True)
            assert seen.setdefault(digest, text) == text


def test_volumes_never_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compose offers to replace a volume whose definition differs by an empty one: its labels are for ever."""
    before = volumes(blueprint("s3"))
    kept = {definition["name"]: definition["labels"] for definition in before.values()}
    monkeypatch.setattr(hailbox, "__version__", "99.0")
    first = blueprint("s3", scale={"chunkd": 2})
    other = replace(
        first,
        images=dict.fromkeys(first.images, "own/image"),
        ports={key: number + 1 for key, number in first.ports.items()},
        own_images=frozenset({"cld"}),
        known=blueprint("s3").record,
        kept=kept,
    )
    after = volumes(other)
    assert {name: after[name] for name in before} == before
    assert after.keys() - before.keys() == {"chunkd-2"}
    record = before["tabled-1"]["labels"].pop(names.RECORD)
    assert parse(record) == blueprint("s3").record
    assert json.loads(after["chunkd-2"]["labels"][names.RECORD])["generation"] == 2
    assert before["tabled-1"] == {
        "name": "hailbox-golden-tabled-1",
        "labels": {
            "org.hailbox.stack": "golden",
            "org.hailbox.kind": "data",
            "org.hailbox.service": "tabled",
            "org.hailbox.replica": "tabled-1",
        },
    }
    labels = {"org.hailbox.stack": "golden", "org.hailbox.kind": "credentials", names.RECORD: record}
    assert before["credentials"]["labels"] == labels


def test_every_object_carries_the_label_of_its_stack_and_its_name() -> None:
    document = yaml.safe_load(render(blueprint("s3", stack="other")))
    assert document["name"] == "hailbox-other"
    for kind in ("services", "volumes", "networks"):
        for thing in document[kind].values():
            assert thing["labels"][names.STACK] == "other"
            assert thing.get("container_name", thing.get("name", "")).startswith("hailbox-other")


def test_an_own_image_is_started_after_the_credentials_are_written() -> None:
    ours = services(blueprint("s3"))
    rendered = services(replace(blueprint("s3"), own_images=frozenset({"tabled"})))
    assert [name for name, definition in rendered.items() if "depends_on" in definition] == ["tabled-1"]
    assert not [name for name, definition in ours.items() if "depends_on" in definition]


def test_only_who_asks_for_the_originals_credentials_has_them() -> None:
    """An own image alone must not turn secrets into public words."""
    own = replace(blueprint("s3"), own_images=frozenset({"tabled"}))
    upstream = replace(blueprint("s3"), credentials="upstream")
    assert "--secret-is-user" not in services(own)[ONE_SHOT]["command"]
    assert "--secret-is-user" in services(upstream)[ONE_SHOT]["command"]
    assert (own.record.credentials, upstream.record.credentials) == ("random", "upstream")
    assert blueprint("s3").record.credentials == ""


def test_the_catalogue_is_not_changed_by_rendering() -> None:
    def content(catalog: Catalog) -> Any:
        return json.dumps([catalog.common, [service.compose for service in catalog.services.values()]], default=str)

    before = content(CATALOG)
    render(blueprint("s3"))
    render(blueprint("fs"))
    assert content(CATALOG) == before


@given(stack=st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=31))
@settings(max_examples=20, deadline=None)
def test_stacks_share_no_name(stack: str) -> None:
    def objects(name: str) -> set[str]:
        containers = {definition["container_name"] for definition in services(blueprint("s3", name)).values()}
        return containers | {volume["name"] for volume in volumes(blueprint("s3", name)).values()}

    assert not objects(stack) & objects("other-one")


def main() -> None:
    """Write the golden files again."""
    hailbox.__version__ = "0.0.0"
    GOLDEN.mkdir(exist_ok=True)
    for profile in ("fs", "s3"):
        (GOLDEN / f"compose-{profile}.yaml").write_text(render(blueprint(profile)))


if __name__ == "__main__":
    main()
