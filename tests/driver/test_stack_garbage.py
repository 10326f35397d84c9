"""Labels that are no values of ours: no command ends as a defect over them, or removes what is not the stack's."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hailbox.commands.down import destroy, down
from hailbox.commands.env import env
from hailbox.commands.logs import logs
from hailbox.commands.ls import ls
from hailbox.commands.reset import reset
from hailbox.commands.status import status
from hailbox.commands.up import up
from hailbox.context import Context
from hailbox.doctor.examine import doctor, why
from hailbox.engine.fake import FakeEngine
from hailbox.engine.port import Container, ContainerState, Image, Network, Volume
from hailbox.fault import active
from hailbox.model import names
from hailbox.model.errors import FaultInEffectError, HailboxError, InternalError
from hailbox.model.overrides import recorded
from hailbox.model.record import parse, parse_older
from hailbox.observe import observe
from hailbox.snapshot import catalog, manage
from hailbox.stack import holder
from support.fakestack import EngineProbes, MakeContext

_KEYS: Final = (
    *(value for key, value in vars(names).items() if key.isupper() and str(value).startswith(names.PREFIX)),
    *(value for key, value in vars(catalog).items() if key.isupper() and str(value).startswith(names.PREFIX)),
    f"{names.PORT}chunkd-1.chunk",
    f"{names.PORT}.",
)
_KEPT: Final = {names.PREFIX, names.STACK}
"""Not put at random: the label that makes a thing the stack's is either there or, beside the stack, garbage."""
_RECORD: Final = {"generation": 10**6, "profile": "s3"}
_PARTS: Final = ("definition", "scale", "images", "ports", "overrides", "generation", "profile")
_words = st.sampled_from(
    ["", "x", "-1", "1e999", "nan", "inf", "9" * 5000, "\x00\x1b[2J\u202e", "é", "../..", "a b c"]
)
_ours = st.sampled_from(
    ["fault", "restore", "save", "disposable", "data", "credentials", "snapshot", "snapshot-seal", "s3", "chunkd-1"]
)
_scalars = st.none() | st.booleans() | st.integers() | st.floats() | _words
_json = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_words | _ours, inner, max_size=2),
    max_leaves=4,
)
_services = st.sampled_from(["chunkd", "tabled", "chunkd-1", "cld-1.cld", "nonsense", "services", "image", "command"])
_nested = st.dictionaries(_services, _json | st.dictionaries(_services, _json, max_size=2), max_size=2)
_records = st.builds(
    lambda part, value: json.dumps({**_RECORD, part: value}), st.sampled_from(_PARTS), _json | _nested
)
_values = _words | _ours | _json.map(json.dumps) | _nested.map(json.dumps) | _records | st.just("[" * 20000)
_garbage = st.dictionaries(st.sampled_from([key for key in _KEYS if key not in _KEPT]), _values, max_size=3)
_half: st.SearchStrategy[dict[str, str]] = st.sampled_from(
    [
        {names.HELPER: names.FAULT},
        {names.HELPER: names.FAULT, names.FAULT_KIND: "pause", names.FAULT_TARGETS: "nonsense"},
        {names.HELPER: names.FAULT, names.FAULT_KIND: "k", names.FAULT_TARGETS: "x", names.FAULT_UNTIL: "never"},
        {names.HELPER: names.RESTORE},
        {names.KIND: names.DATA},
        {names.KIND: names.SNAPSHOT, names.SNAPSHOT_NAME: "odd"},
        {names.KIND: names.SEAL},
        {names.SERVICE: "nonsense", names.REPLICA: "x"},
        {names.REPLICA: "chunkd-1"},
        {names.SERVICE: "chunkd"},
    ]
)
"""What real use showed: labels of ours of which the others are missing."""
_damaged_records = st.builds(lambda record: {names.RECORD: record}, _records)
_labels = st.builds(lambda start, more: {**start, **more}, st.just({}) | _half | _damaged_records, _garbage)
_VERBS: Final[Mapping[str, Callable[[Context], Any]]] = {
    "ls": lambda context: ls(context.engine),
    "status": status,
    "status --why": why,
    "doctor": doctor,
    "snapshot ls": manage.ls,
    "fault ls": active.ls,
    "logs": logs,
    "env": env,
    "up": up,
    "down": down,
    "reset": reset,
    "destroy": destroy,
}


def _engine(images: Mapping[str, Image]) -> FakeEngine:
    engine = FakeEngine()
    engine.all_images.update(images)
    return engine


def _add(engine: FakeEngine, name: str, labels: Mapping[str, str]) -> None:
    """A container, a volume, a network and an image with these labels."""
    engine.all_containers[name] = Container(name, name, "x", "x", ContainerState.RUNNING, labels)
    engine.all_volumes[name] = Volume(name, labels)
    engine.all_networks[name] = Network(name, name, labels)
    engine.all_images[name] = Image(name, (name,), labels)


def _spoil(engine: FakeEngine, labels: Mapping[str, str], missing: str) -> None:
    """Overwrite these labels on everything that the stack has, and take one away."""
    every: list[dict[str, Any]] = [engine.all_containers, engine.all_volumes, engine.all_networks]
    for things in every:
        for key, thing in things.items():
            kept = {name: value for name, value in {**thing.labels, **labels}.items() if name != missing}
            things[key] = replace(thing, labels=kept)


def _run(context: Context, verb: str) -> None:
    """Any other exception than a HailboxError, and an InternalError, would be exit status 70."""
    with contextlib.suppress(HailboxError):
        try:
            _VERBS[verb](context)
        except InternalError as error:
            raise RuntimeError(verb) from error


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    own=_labels,
    spoilt=_labels,
    missing=st.sampled_from([key for key in _KEYS if key not in _KEPT]),
    foreign=_labels,
    stack=_words | st.sampled_from(["test-2", "Not A Stack!"]),
    verbs=st.permutations(list(_VERBS)),
)
def test_garbage_in_labels_is_no_defect(
    fake: FakeEngine,
    make_context: MakeContext,
    own: dict[str, str],
    spoilt: dict[str, str],
    missing: str,
    foreign: dict[str, str],
    stack: str,
    verbs: list[str],
) -> None:
    engine = _engine(fake.all_images)
    context = replace(make_context(), engine=engine, watch=EngineProbes(engine, "test"))
    up(context)
    _spoil(engine, spoilt, missing)
    _add(engine, "hailbox-test-odd", {**own, names.STACK: "test"})
    _add(engine, "theirs", {**foreign, names.STACK: stack})
    _add(engine, "hailbox-test-theirs", foreign)
    for verb in verbs:
        _run(context, verb)
    every = (engine.all_containers, engine.all_volumes, engine.all_networks, engine.all_images)
    for things in every:
        assert {"theirs", "hailbox-test-theirs"} <= set(things)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"generation":Infinity,"profile":"s3"}',
        '{"generation":1,"profile":"s3","scale":{"chunkd":1000000000}}',
        '{"generation":1,"profile":"s3","scale":{"chunkd":-1}}',
        '{"generation":1,"profile":"s3","ports":{"chunkd-1.chunk":65536}}',
        '{"generation":1,"profile":"s3","ports":{"chunkd-1":1}}',
    ],
)
def test_what_we_never_write_is_no_record(text: str) -> None:
    assert parse(text) is None
    assert holder.parse(text) is None
    assert parse_older({names.PROFILE: "s3", names.DEFINITION: text, names.OVERRIDES: text}) is not None


@pytest.mark.parametrize(
    "override",
    [
        {"command": 5},
        {"command": [[]]},
        {"environment": ["A=b"]},
        {"environment": {"A": {}}},
        {"limits": {"nonsense": 1}},
        {"limits": "1g"},
        {"image": 1},
        {"build": {"target": "x"}},
        {"build": {"context": ".", "args": ["A=b"]}},
    ],
)
def test_an_override_of_a_wrong_type_is_none(override: dict[str, Any]) -> None:
    assert recorded(json.dumps({"chunkd": override})) == {}


def test_a_fault_without_its_labels_is_listed_and_ended(fake: FakeEngine, make_context: MakeContext) -> None:
    context = make_context()
    up(context)
    _add(fake, "hailbox-test-fault-odd", {names.STACK: "test", names.HELPER: names.FAULT, names.FAULT_UNTIL: "nan"})
    (fault,) = active.ls(context)
    assert (fault.id, fault.targets, fault.until) == ("odd", (), None)
    assert [error.code for error in why(context).errors] == [FaultInEffectError.code]
    assert active.clear(context, ["odd"]).faults == ("odd",)
    assert active.ls(context) == []


def test_what_claims_to_restore_and_names_no_snapshot_is_not_waited_for(
    fake: FakeEngine, make_context: MakeContext
) -> None:
    context = make_context()
    up(context)
    labels = {names.STACK: "test", names.HELPER: names.RESTORE}
    foreign = Container("f", "sleeper", "x", "sha256:x", ContainerState.RUNNING, labels)
    fake.all_containers["f"] = foreign
    assert why(context).errors == ()
    assert up(make_context()).working
    assert catalog.snapshots(observe(fake, "test")) == []


def test_what_is_no_stack_s_name_is_no_stack(fake: FakeEngine, make_context: MakeContext) -> None:
    """No advice names it: `hailbox --stack 'x; halt' destroy` would be refused, or worse, be run by a shell."""
    context = make_context()
    up(context)
    fake.all_volumes["theirs"] = Volume("theirs", {names.STACK: "x; halt"})
    assert [summary.stack for summary in ls(fake)] == ["test"]
    assert "halt" not in "".join(error.remedy for error in doctor(context).errors)
