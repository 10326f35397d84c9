"""Services and profiles as typed values, and what is wrong with definitions that are not usable."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hailbox.model.catalog import ONE_SHOT, Catalog, Profile, Replica, profile_from, service_from
from hailbox.model.errors import ConfigurationError, UnknownProfileError, UnknownServiceError

SERVICE = {
    "summary": "a service",
    "data": "/var/lib/a",
    "ports": [{"name": "p", "container": 1, "host": 2, "protocols": ["tcp", "udp"]}],
    "configurations": {"default": {"a.conf": "x"}, "other": {"a.conf": "y"}},
    "needs": ["b"],
    "compose": {"command": ["-x"]},
}
SERVICES = {
    "a": service_from("a", SERVICE),
    "b": service_from("b", {"summary": "b"}),
    ONE_SHOT: service_from(ONE_SHOT, {"summary": "makes credentials"}),
}


def test_service() -> None:
    service = SERVICES["a"]
    assert (service.name, service.data, service.needs) == ("a", "/var/lib/a", ("b",))
    assert [(port.name, port.container, port.host, port.protocols) for port in service.ports] == [
        ("p", 1, 2, ("tcp", "udp"))
    ]


def test_service_with_little() -> None:
    service = SERVICES["b"]
    assert (service.data, service.ports, service.needs) == (None, (), ())
    assert service.configurations == {"default": {}}


@pytest.mark.parametrize("text", [{}, {"summary": "x", "ports": [{}]}, {"summary": "x", "ports": 5}, [], None, "x"])
def test_service_that_is_not_usable(text: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        service_from("a", text)
    assert "service a" in caught.value.problem


def test_profile_counts_the_replicas_of_each_service() -> None:
    text = {"summary": "s", "services": {"b": [{}, {}], "a": [{"configuration": "other", "arguments": ["-y"]}]}}
    profile = profile_from("p", text, SERVICES)
    assert profile.services == ("b", "a")
    assert profile.replicas == (Replica("b", 1), Replica("b", 2), Replica("a", 1, "other", ("-y",)))
    assert [replica.name for replica in profile.replicas] == ["b-1", "b-2", "a-1"]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (None, "names no services"),
        ([], "names no services"),
        ({"summary": "x"}, "names no services"),
        ({"services": {}}, "names no services"),
        ({"services": ["a"]}, "names no services"),
        ({"services": {"a": 3}}, "a is 3"),
        ({"services": {"a": []}}, "a is []"),
        ({"services": {"a": [None]}}, "a is [None]"),
        ({"services": {"a": [{"config": "x"}]}}, "a is [{'config': 'x'}]"),
        ({"services": {"a": [{"number": "x"}]}}, "a is [{'number': 'x'}]"),
        ({"services": {"a": [{"number": 0}]}}, "a is [{'number': 0}]"),
        ({"services": {"a": [{"configuration": ["x"]}]}}, "a is [{'configuration': ['x']}]"),
        ({"services": {"a": [{"arguments": "-x"}]}}, "a is [{'arguments': '-x'}]"),
        ({"services": {"a": [{"arguments": [1]}]}}, "a is [{'arguments': [1]}]"),
        ({"services": {"a": [{"number": 2}, {}]}}, "two replicas of a have one number"),
    ],
    ids=str,
)
def test_profile_that_is_not_usable(text: Any, named: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        profile_from("p", text, SERVICES)
    assert caught.value.problem.startswith("profile p")
    assert named in caught.value.problem


def test_profile_with_numbers_of_its_own() -> None:
    profile = profile_from("p", {"services": {"a": [{"number": 2}, {"number": 5}]}}, SERVICES)
    assert [replica.name for replica in profile.replicas] == ["a-2", "a-5"]


@pytest.mark.parametrize("service", ["nosuch", ONE_SHOT])
def test_profile_with_a_service_that_it_cannot_have(service: str) -> None:
    with pytest.raises(UnknownServiceError) as caught:
        profile_from("p", {"summary": "s", "services": {service: [{}]}}, SERVICES)
    assert repr(service) in caught.value.problem
    assert caught.value.remedy == "there are: a, b"


def test_profile_with_an_unknown_configuration() -> None:
    with pytest.raises(ConfigurationError) as caught:
        profile_from("p", {"summary": "s", "services": {"a": [{"configuration": "nosuch"}]}}, SERVICES)
    assert "'nosuch'" in caught.value.problem
    assert caught.value.remedy == "there are: default, other"


PROFILE = Profile("p", "s", (Replica("a", 1), Replica("a", 2, "other", ("-y",)), Replica("b", 1)))


@given(st.integers(1, 32), st.integers(1, 32))
@settings(max_examples=30)
def test_scaled_to_any_numbers(first: int, second: int) -> None:
    scaled = PROFILE.scaled({"a": first, "b": second})
    names = [replica.name for replica in scaled.replicas]
    assert names == [f"a-{n}" for n in range(1, first + 1)] + [f"b-{n}" for n in range(1, second + 1)]
    kept = PROFILE.replicas[:2][:first]
    assert scaled.replicas[: len(kept)] == kept
    assert all(replica.configuration == "other" for replica in scaled.replicas[1:first])


def test_scaled_where_the_numbers_do_not_begin_with_one() -> None:
    profile = Profile("p", "s", (Replica("a", 2, "other"),))
    assert profile.scaled({"a": 3}).replicas == (
        Replica("a", 2, "other"),
        Replica("a", 3, "other"),
        Replica("a", 4, "other"),
    )


def test_scaled_by_nothing_is_the_same() -> None:
    assert PROFILE.scaled({}) == PROFILE


def test_scaling_what_is_not_in_the_profile() -> None:
    with pytest.raises(UnknownServiceError) as caught:
        PROFILE.scaled({"cld": 2})
    assert "'cld'" in caught.value.problem
    assert caught.value.remedy == "it has: a, b"


def test_unknown_profile() -> None:
    catalog = Catalog({}, SERVICES, {"p": PROFILE, "o": PROFILE})
    assert catalog.profile("p") is PROFILE
    with pytest.raises(UnknownProfileError) as caught:
        catalog.profile("nosuch")
    assert caught.value.remedy == "there are: o, p"
