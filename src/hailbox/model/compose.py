"""The Compose file of a stack: a pure, byte-stable function of what it is made of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

import hailbox
from hailbox.model import names, overrides
from hailbox.model.catalog import ONE_SHOT, Catalog, Port, Profile, Replica
from hailbox.model.record import CREDENTIALS, UPSTREAM, Record, older_labels

_Dumper: type[Any] = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

CONFIGURATION_DEADLINE: Final = 30
"""Seconds that a daemon waits for its configuration file."""
_EMPTYING: Final = "emptying.secret"
"""The file with the secret of `haild.wire.emptying`."""


@dataclass(frozen=True)
class Blueprint:
    """Everything that decides what a stack's Compose file says."""

    stack: str
    profile: Profile
    catalog: Catalog
    images: Mapping[str, str]
    """By service, `credentials` included: the image's reference."""
    ports: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """By replica and port name: the port on the host."""
    scale: Mapping[str, int] = field(default_factory=dict)
    """What the user asked for beyond the profile; `profile` is scaled already."""
    own_images: frozenset[str] = frozenset()
    """Services that run an image of the user's own."""
    credentials: str = CREDENTIALS[0]
    """How cld and chunkd know their users, one of CREDENTIALS."""
    without: tuple[str, ...] = ()
    """Services that are left out; `profile` is without them already."""
    overrides: overrides.Recorded = field(default_factory=dict)
    """By service or replica: what else is the user's own."""
    built: Mapping[str, str] = field(default_factory=dict)
    """By service or replica: the image that was built from the user's directory."""
    reload_program: str = ""
    """The text of the program that runs a daemon from a mounted checkout."""
    known: Record | None = None
    """The newest record that the stack has."""
    kept: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By name of a volume or network that is there: its labels of ours, as they are."""
    kept_records: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By replica whose container need not change: its label with the record, if it has one."""

    @property
    def record(self) -> Record:
        """What the next command has to know of this stack."""
        own = {service: self.images[service] for service in sorted(self.own_images)}
        definition = self.profile.definition
        said = self.credentials if own or self.credentials == UPSTREAM else ""
        found = Record(self.profile.name, definition, self.scale, own, self.ports, self.overrides, said, self.without)
        return found.after(self.known)


def preferred_port(port: Port, replica: Replica) -> int:
    """The port that a replica of the default stack has unless another program holds it: 8082 and up for chunkd."""
    return port.host + replica.number - 1


def render(blueprint: Blueprint) -> str:
    """The text of the Compose file."""
    document = {
        "name": names.project(blueprint.stack),
        "services": services(blueprint),
        "networks": {"default": _network(blueprint)},
        "volumes": volumes(blueprint),
    }
    header = (
        f"# Stack {blueprint.stack}, profile {blueprint.profile.name}. Made by hailbox; changes here are not kept.\n"
    )
    return header + yaml.dump(_escaped(document), Dumper=_Dumper, sort_keys=True, width=1000, allow_unicode=True)


def services(blueprint: Blueprint) -> dict[str, dict[str, Any]]:
    """The Compose services by replica name, each with the digest of its definition and with the record as labels.

    The digest leaves the record out, so that a change of it re-creates no container that need not change.
    """
    rendered = {replica.name: _replica(blueprint, replica) for replica in blueprint.profile.replicas}
    rendered[ONE_SHOT] = _one_shot(blueprint)
    record = {names.RECORD: blueprint.record.text()}
    for replica, definition in rendered.items():
        text = json.dumps(definition, sort_keys=True)
        definition["labels"][names.DIGEST] = hashlib.sha256(text.encode()).hexdigest()[:16]
        definition["labels"] |= blueprint.kept_records.get(replica, record)
    return rendered


def _labels(blueprint: Blueprint) -> dict[str, str]:
    return {names.STACK: blueprint.stack}


def _lasting(blueprint: Blueprint, name: str, labels: Mapping[str, str]) -> dict[str, Any]:
    """A volume or network. Its labels may never change: Compose offers to re-create, empty, one that differs."""
    made = {**_labels(blueprint), **labels, names.RECORD: blueprint.record.text()}
    return {"name": name, "labels": dict(blueprint.kept.get(name, made))}


def _network(blueprint: Blueprint) -> dict[str, Any]:
    return _lasting(blueprint, names.project(blueprint.stack), {})


def _service_labels(blueprint: Blueprint, service: str, replica: str) -> dict[str, str]:
    return _labels(blueprint) | {
        names.SERVICE: service,
        names.REPLICA: replica,
        names.VERSION: hailbox.__version__,
    }


def volumes(blueprint: Blueprint) -> dict[str, Any]:
    """The Compose volumes: one for the credentials, and one for the data of each replica or group that keeps any."""
    credentials = names.credentials_volume(blueprint.stack)
    rendered = {"credentials": _lasting(blueprint, credentials, {names.KIND: names.CREDENTIALS})}
    for replica in blueprint.profile.replicas:
        if blueprint.catalog.services[replica.service].data:
            keeper = blueprint.catalog.keeper(replica.name)
            labels = {names.KIND: names.DATA, names.SERVICE: replica.service, names.REPLICA: keeper}
            rendered[keeper] = _lasting(blueprint, names.data_volume(blueprint.stack, keeper), labels)
    return rendered


def _substituted(value: Any, replacements: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        for placeholder, text in replacements.items():
            value = value.replace(placeholder, text)
        return value
    if isinstance(value, list):
        return [_substituted(entry, replacements) for entry in value]
    if isinstance(value, dict):
        return {key: _substituted(entry, replacements) for key, entry in value.items()}
    return value


def _escaped(value: Any) -> Any:
    """Dollar signs doubled, so that Compose interpolates nothing."""
    return _substituted(value, {"$": "$$"})


def _secret_is_user(blueprint: Blueprint) -> bool:
    """The originals have no secrets file: the secret of a user is its name (cld.md 3.4, chunkd.md 2.1)."""
    return blueprint.credentials == UPSTREAM


def configuration_files(blueprint: Blueprint, replica: Replica) -> tuple[str, dict[str, str]]:
    """Where a replica's configuration files are, and their templates by path relative to that place.

    The place is named for the content, so that a daemon never reads the file of an earlier configuration.
    What is left in the templates as `@NAME@` are the credentials.
    """
    templates = overrides.configuration(
        blueprint.overrides,
        replica.service,
        replica.name,
        blueprint.catalog.services[replica.service].configurations[replica.configuration],
    )
    topology = {
        "@replica@": replica.name,
        "@number@": str(replica.number),
        "@container@": names.container(blueprint.stack, replica.name),
    }
    templates = {**templates, _EMPTYING: "@EMPTYING_SECRET@\n"}
    texts = {name: _substituted(text, topology) for name, text in templates.items()}
    described = json.dumps([texts, _secret_is_user(blueprint)], sort_keys=True)
    digest = hashlib.sha256(described.encode()).hexdigest()[:12]
    place = f"{replica.name}-{digest}"
    where = {"@files@": f"{names.CREDENTIALS_DIRECTORY}/{place}"}
    return place, {f"{place}/{name}": _substituted(text, where) for name, text in texts.items()}


def _replica(blueprint: Blueprint, replica: Replica) -> dict[str, Any]:
    service = blueprint.catalog.services[replica.service]
    place, _ = configuration_files(blueprint, replica)
    placeholders = {
        "@files@": f"{names.CREDENTIALS_DIRECTORY}/{place}",
        "@replica@": replica.name,
        "@number@": str(replica.number),
    }
    definition: dict[str, Any] = dict(blueprint.catalog.common) | _substituted(dict(service.compose), placeholders)
    definition |= {
        "image": blueprint.images[replica.service],
        "container_name": names.container(blueprint.stack, replica.name),
        "hostname": replica.name,
        "group_add": [str(names.group(replica.name))],
        "command": [*definition.get("command", []), *replica.arguments],
        "labels": _service_labels(blueprint, replica.service, replica.name),
        "environment": {
            "HAILD_CONFIG_DEADLINE": str(CONFIGURATION_DEADLINE),
            "HAILD_EMPTYING": f"{names.CREDENTIALS_DIRECTORY}/{place}/{_EMPTYING}",
        },
        "volumes": [f"credentials:{names.CREDENTIALS_DIRECTORY}:ro"],
        "ports": [
            f"127.0.0.1:{blueprint.ports[replica.name, port.name]}:{port.container}/{protocol}"
            for port in service.ports
            for protocol in port.protocols
        ],
    }
    if service.data:
        definition["volumes"].append(f"{blueprint.catalog.keeper(replica.name)}:{service.data}")
    if service.group:
        definition["networks"] = {"default": {"aliases": [replica.service]}}
    override = overrides.of_replica(blueprint.overrides, replica.service, replica.name)
    if "build" in override:
        override = {**override, "image": blueprint.built.get(replica.name) or blueprint.built[replica.service]}
    overrides.apply(definition, _substituted(dict(override), placeholders), replica.service, blueprint.reload_program)
    if replica.service in blueprint.own_images or "image" in override:
        # Ours wait for their configuration file; a program that does not has to be started after it is written.
        definition["depends_on"] = {ONE_SHOT: {"condition": "service_completed_successfully"}}
    return definition


def _one_shot(blueprint: Blueprint) -> dict[str, Any]:
    service = blueprint.catalog.services[ONE_SHOT]
    definition: dict[str, Any] = dict(blueprint.catalog.common) | dict(service.compose)
    files: dict[str, str] = {}
    for replica in blueprint.profile.replicas:
        files |= configuration_files(blueprint, replica)[1]
    command = ["--directory", names.CREDENTIALS_DIRECTORY]
    if _secret_is_user(blueprint):
        command.append("--secret-is-user")
    for name in sorted(replica.name for replica in blueprint.profile.replicas):
        command += ["--group", name, str(names.group(name))]
    definition |= {
        "image": blueprint.images[ONE_SHOT],
        "container_name": names.container(blueprint.stack, ONE_SHOT),
        "command": command + [argument for item in sorted(files.items()) for argument in ("--file", *item)],
        "labels": _service_labels(blueprint, ONE_SHOT, ONE_SHOT) | older_labels(blueprint.record),
        "volumes": [f"credentials:{names.CREDENTIALS_DIRECTORY}"],
        "network_mode": "none",
    }
    return definition
