"""The catalogue: which services there are, and the profiles that combine them, as typed values.

Made from the mappings in `compose/services/*.yaml` and `compose/profiles/*.yaml`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from hailbox.model import names
from hailbox.model.errors import ConfigurationError, UnknownProfileError, UnknownServiceError

ONE_SHOT: Final = "credentials"
"""The service that prepares the others and ends."""


@dataclass(frozen=True)
class Port:
    """A port that a service listens on, and the one on the host that its first replica would like to have."""

    name: str
    container: int
    host: int
    protocols: tuple[str, ...]


@dataclass(frozen=True)
class Service:
    """One service as the catalogue describes it."""

    name: str
    summary: str
    data: str | None
    ports: tuple[Port, ...]
    configurations: Mapping[str, Mapping[str, str]]
    """By name: the files of one way to configure the service, as templates by file name."""
    needs: tuple[str, ...]
    """Services without which it cannot work, where the profile has them."""
    group: bool
    """Its replicas are one group: they share one volume, and the service's name is the host name of any of them."""
    compose: Mapping[str, Any]
    """What its Compose service has beyond the common settings; strings may hold placeholders."""


@dataclass(frozen=True)
class Replica:
    """One container-to-be."""

    service: str
    number: int
    configuration: str = "default"
    arguments: tuple[str, ...] = ()
    """Command-line arguments after the service's own."""

    @property
    def name(self) -> str:
        """`chunkd-2`."""
        return names.replica(self.service, self.number)


@dataclass(frozen=True)
class Profile:
    """Which services a stack has, how many of each, and how they are connected."""

    name: str
    summary: str
    replicas: tuple[Replica, ...]
    definition: Mapping[str, Any] | None = field(default=None, compare=False)
    """The text of the file, of a user's own profile: the next command has to know it without the file."""

    @property
    def services(self) -> tuple[str, ...]:
        """The services in it, each once, in order."""
        return tuple(dict.fromkeys(replica.service for replica in self.replicas))

    @property
    def counts(self) -> dict[str, int]:
        """How many replicas of each service, in order."""
        return {name: sum(replica.service == name for replica in self.replicas) for name in self.services}

    def scaled(self, counts: Mapping[str, int]) -> Profile:
        """This profile with other numbers of replicas; added ones are configured as the last one there is."""
        replicas: list[Replica] = []
        for service in counts:
            if service not in self.services:
                raise UnknownServiceError(
                    f"profile {self.name} has no service {service!r} to scale", f"it has: {', '.join(self.services)}"
                )
        for service in self.services:
            present = [replica for replica in self.replicas if replica.service == service]
            wanted = counts.get(service, len(present))
            last = present[-1]
            present += [replace(last, number=last.number + more) for more in range(1, wanted - len(present) + 1)]
            replicas += present[:wanted]
        return replace(self, replicas=tuple(replicas))


@dataclass(frozen=True)
class Catalog:
    """Everything that a stack can be made of."""

    common: Mapping[str, Any]
    services: Mapping[str, Service]
    profiles: Mapping[str, Profile] = field(default_factory=dict)

    def keeper(self, replica: str) -> str:
        """The replica in whose volume a replica keeps its data: itself, or the first of its group."""
        service = replica.rpartition("-")[0]
        known = self.services.get(service)
        return names.replica(service, 1) if known is not None and known.group else replica

    def profile(self, name: str) -> Profile:
        """The profile of that name. Raises UnknownProfileError."""
        if name not in self.profiles:
            raise UnknownProfileError(
                f"there is no profile {name!r}", f"there are: {', '.join(sorted(self.profiles))}"
            )
        return self.profiles[name]


def service_from(name: str, text: Mapping[str, Any]) -> Service:
    """A service from the content of its fragment. Raises ConfigurationError."""
    try:
        return Service(
            name=name,
            summary=text["summary"],
            data=text.get("data"),
            ports=tuple(
                Port(port["name"], port["container"], port["host"], tuple(port["protocols"]))
                for port in text.get("ports", ())
            ),
            configurations=text.get("configurations", {"default": {}}),
            needs=tuple(text.get("needs", ())),
            group=bool(text.get("group", False)),
            compose=text.get("compose", {}),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(
            f"the definition of service {name} is not usable: {error}", "compare it with compose/services/cld.yaml"
        ) from error


_PROFILE_FORM: Final = "a profile is a mapping such as: {summary: TEXT, services: {cld: [{}], chunkd: [{}, {}]}}"
_ENTRY_FORM: Final = "write a list with a mapping for each replica; its keys may be: arguments, configuration, number"


def _is_entry(entry: Any) -> bool:
    """Whether this may stand for one replica in the file of a profile."""
    if not isinstance(entry, Mapping) or not entry.keys() <= {"configuration", "number", "arguments"}:
        return False
    number, arguments = entry.get("number", 1), entry.get("arguments", [])
    if type(number) is not int or number < 1 or not isinstance(entry.get("configuration", ""), str):
        return False
    return isinstance(arguments, list) and all(isinstance(argument, str) for argument in arguments)


def _replicas_from(profile: str, service: Any, entries: Any) -> Iterator[Replica]:
    if not (isinstance(entries, list) and entries and all(_is_entry(entry) for entry in entries)):
        raise ConfigurationError(f"profile {profile}: {service} is {entries!r}", _ENTRY_FORM)
    numbers = [entry.get("number", position) for position, entry in enumerate(entries, start=1)]
    if len(set(numbers)) < len(numbers):
        raise ConfigurationError(f"profile {profile}: two replicas of {service} have one number", _ENTRY_FORM)
    for number, entry in zip(numbers, entries, strict=True):
        yield Replica(service, number, entry.get("configuration", "default"), tuple(entry.get("arguments", ())))


def profile_from(
    name: str, text: Mapping[str, Any], services: Mapping[str, Service], *, shipped: bool = False
) -> Profile:
    """A profile from the content of its file. Raises ConfigurationError, UnknownServiceError."""
    wanted = text.get("services") if isinstance(text, Mapping) else None
    if not isinstance(wanted, Mapping) or not wanted:
        raise ConfigurationError(f"profile {name} names no services", _PROFILE_FORM)
    replicas = tuple(
        replica for service, entries in wanted.items() for replica in _replicas_from(name, service, entries)
    )
    profile = Profile(name, str(text.get("summary", "")), replicas, None if shipped else text)
    for replica in profile.replicas:
        if replica.service not in services or replica.service == ONE_SHOT:
            known = ", ".join(sorted(set(services) - {ONE_SHOT}))
            raise UnknownServiceError(f"profile {name} asks for service {replica.service!r}", f"there are: {known}")
        if replica.configuration not in services[replica.service].configurations:
            known = ", ".join(services[replica.service].configurations)
            raise ConfigurationError(
                f"profile {name} asks for configuration {replica.configuration!r} of {replica.service}",
                f"there are: {known}",
            )
    return profile
