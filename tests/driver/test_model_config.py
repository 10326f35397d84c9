"""`hailbox.yaml`: what it may say, and that everything else is refused with file, line and column."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example as such_as
from hypothesis import given, settings
from hypothesis import strategies as st

from hailbox.model import document as documents
from hailbox.model.config import Build, Config, Limits, Override, from_document
from hailbox.model.errors import ConfigurationError
from hailbox.model.schema import example, schema

SCHEMA = Path(__file__).parents[2] / "docs" / "hailbox.schema.json"


def read(text: str | bytes) -> Config:
    return from_document(documents.parse("h.yaml", text if isinstance(text, bytes) else text.encode()))


def test_an_empty_file_chooses_nothing() -> None:
    assert read("") == read("{}") == read("# nothing\n") == Config() == Config(stack="hail")


def test_all_keys() -> None:
    assert read(
        """
        stack: mine
        profile: fs
        scale: {chunkd: 3}
        ports: {tabled-1: 8080, iwhd: 9090}
        images: {cld: "own/cld:1"}
        services:
          chunkd: {image: "own/chunkd@sha256:%s"}
          tabled:
            config: ./tabled.conf
            command: [-F, -D, 2]
            environment: {DEBUG: 1, WHERE: here}
            limits: {memory: 1g, cpus: 0.5, pids: 100}
          iwhd-1: {build: {context: ., dockerfile: D, target: t, args: {A: 1}}}
          cld: {source: ..}
        """
        % ("0" * 64)
    ) == Config(
        stack="mine",
        profile="fs",
        scale={"chunkd": 3},
        ports={"tabled-1": 8080, "iwhd": 9090},
        images={"cld": "own/cld:1", "chunkd": f"own/chunkd@sha256:{'0' * 64}"},
        services={
            "chunkd": Override(image=f"own/chunkd@sha256:{'0' * 64}"),
            "tabled": Override(
                config="./tabled.conf",
                command=("-F", "-D", 2),
                environment={"DEBUG": 1, "WHERE": "here"},
                limits=Limits("1g", 0.5, 100),
            ),
            "iwhd-1": Override(build=Build(".", "D", "t", {"A": 1})),
            "cld": Override(source=".."),
        },
    )


def test_keys_without_a_value_choose_nothing() -> None:
    keys = ["stack", "profile", "scale", "ports", "images", "services"]
    assert read("".join(f"{key}:\n" for key in keys)) == Config()


@pytest.mark.parametrize(
    ("text", "problem", "remedy"),
    [
        (
            "[]",
            "1:1: the document is a list",
            "its keys may be: credentials, images, images_from, ports, profile, scale, seed, services, stack,",
        ),
        ("stack", "1:1: the document is 'stack'", "write a mapping"),
        ("5", "1:1: the document is 5", "write a mapping"),
        ("Stack: x", "1:1: unknown key 'Stack'; did you mean 'stack'?", "its keys may be:"),
        ("\n1: 2", "2:1: unknown key '1'", "its keys may be:"),
        ("stack: 5", "1:8: stack is 5", 'write "5" in quotes'),
        ("stack: [x]", "1:8: stack is a list", "make stack a text"),
        ("stack: My Stack", "1:8: stack is 'My Stack'", "1 to 31 lower-case letters"),
        ("stack: ''", "1:8: stack is ''", "make stack a text"),
        ("profile: true", "1:10: profile is true", 'write "true" in quotes'),
        ("profile: 2001-13-45", "1:10: profile is 2001-13-45", "in quotes"),
        ("scale: [chunkd]", "1:8: scale is a list", "make scale a mapping"),
        ("scale:\n  chunkd: 0", "2:11: scale.chunkd is 0", "use a number from 1 to 32"),
        ("scale:\n  chunkd: 33", "2:11: scale.chunkd is 33", "use a number from 1 to 32"),
        ("scale: {chunkd: true}", "1:17: scale.chunkd is true", "use a number from 1 to 32"),
        ("scale: {chunkd: 2.0}", "1:17: scale.chunkd is 2.0", "use a number from 1 to 32"),
        (f"scale: {{chunkd: {'9' * 5000}}}", "1:17: scale.chunkd is", "number"),
        (
            "scale: {chunk: 2}",
            "1:9: unknown name 'chunk' in scale; did you mean 'chunkd'?",
            "cld, chunkd, tabled, iwhd",
        ),
        ("ports: {tabled: '8080'}", "1:17: ports.tabled is '8080'", "use a number from 1 to 65535"),
        ("ports: {tabled: 0}", "1:17: ports.tabled is 0", "use a number from 1 to 65535"),
        ("ports: {tabled: 65536}", "1:17: ports.tabled is 65536", "use a number from 1 to 65535"),
        ("ports: {tabled: }", "1:17: ports.tabled is empty", "use a number from 1 to 65535"),
        ("ports:\n  iwhd: 80\n  tabled: 80", "3:11: ports.tabled and ports.iwhd are both 80", "another port"),
        ("images: own/cld", "1:9: images is 'own/cld'", "make images a mapping"),
        ("images: {cld: }", "1:15: images.cld is empty", "make images.cld a text"),
        ("images: {cld: ''}", "1:15: images.cld is ''", "make images.cld a text"),
        ("images: {cld: {build: .}}", "1:15: images.cld is a mapping", "make images.cld a text"),
        ("images: {cld: a b}", "1:15: images.cld is 'a b'", "an image's name"),
        ("images: {cld: a}\nservices: {cld: {image: b}}", "1:15: images.cld and services.cld.image both", "keep one"),
        ("services: {cld: {imag: a}}", "1:18: unknown key 'imag' in services.cld; did you mean 'image'?", "may be:"),
        ("services: {mongo: {}}", "1:12: unknown name 'mongo' in services", "it may be: cld"),
        ("services: {cld: x}", "1:17: services.cld is 'x'", "write a mapping"),
        ("services: {cld: {config: x}}", "1:26: services.cld has no configuration file", "`command`"),
        ("services: {cld: {image: a, build: .}}", "1:35: services.cld has image and build", "keep one of them"),
        ("services: {cld: {command: -F}}", "1:27: services.cld.command is '-F'", "write a list"),
        ("services: {cld: {limits: {memory: lots}}}", "1:35: services.cld.limits.memory is 'lots'", "512m or 2g"),
        ("services: {cld: {build: {dockerfil: x}}}", "unknown key 'dockerfil' in services.cld.build", "may be:"),
        ("a: b: c", "1:5: mapping values are not allowed", "mend that line"),
        ("stack: x\nports: [", "did not find expected", "mend that line"),
        ("stack: !!python/object/apply:os.system [true]", "1:8: stack is a list", "make stack a text"),
        ("stack:\n\tx: 1", "2:1: a tab", "indent with spaces"),
        ("stack: a\n---\nstack: b\n", "expected a single document", "mend that line"),
        ("stack: a\nscale: {}\nstack: b", "3:1: the key 'stack' is here twice", "the first is in line 1"),
        ("ports: {iwdh-1: 80}", "1:9: unknown name 'iwdh-1' in ports", "it may be: cld, chunkd"),
        ("ports: {a: 1, a: 2}", "1:15: the key 'a' is here twice", "the first is in line 1"),
        ("stack: &x [*x]", "1:8: a value contains itself", "without the alias"),
        ("? [a]\n: b", "1:3: a key is not a word", "use a word"),
        (b"a: 1\nstack: x\xff\n", "2:9: this is not UTF-8", "save the file as UTF-8"),
        (b"stack: a\0b\n", "h.yaml:1:", "remove it"),
        (b"[" * 4000, "did not find expected node content", "mend that line"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_is_refused_names_the_place_and_the_way_out(text: str | bytes, problem: str, remedy: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(text)
    assert caught.value.problem.startswith("h.yaml:")
    assert problem in caught.value.problem
    assert remedy in caught.value.remedy
    assert len(caught.value.problem.splitlines()) == 1


def test_an_override_joins_mappings_and_replaces_all_else() -> None:
    lower = documents.parse("a", b"scale: {chunkd: 2, iwhd: 1}\nstack: low\nservices: {cld: {command: [1, 2]}}\n")
    upper = documents.parse("b", b"scale:\n  chunkd: 3\nprofile: fs\nservices: {cld: {command: [3]}}\nstack:\n")
    both = documents.over(upper, lower)
    found = from_document(both)
    assert found.scale == {"chunkd": 3, "iwhd": 1}
    assert (found.stack, found.profile) == ("low", "fs")
    assert found.services["cld"].command == (3,)
    assert str(both.place(("scale", "chunkd"))) == "b:2:11"
    assert str(both.place(("stack",))) == "a:2:8"


def test_a_mistake_in_an_override_is_told_with_its_file() -> None:
    both = documents.over(documents.parse("b", b"scale:\n  chunkd: x\n"), documents.parse("a", b"stack: low\n"))
    with pytest.raises(ConfigurationError, match=r"b:2:11: scale\.chunkd is 'x'"):
        from_document(both)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(["stack", "profile", "scale", "ports", "images", "services"])
FILES = TREES | st.dictionaries(KEYS, TREES, max_size=5)


@given(FILES)
@such_as({"ports": {"\x1e": None}})
@settings(max_examples=70, deadline=None)
def test_anything_that_yaml_may_hold_is_taken_or_refused(tree: Any) -> None:
    told: list[str] = []
    try:
        chosen = read(yaml.safe_dump(tree, allow_unicode=True))
    except ConfigurationError as error:
        told = [error.problem, error.remedy]
    if told:
        assert re.match(r"h\.yaml:\d+:\d+: ", told[0])
        assert all(len(line.splitlines()) == 1 for line in told)
    else:
        assert all(1 <= number <= 65535 for number in chosen.ports.values())
        assert all(1 <= count <= 32 for count in chosen.scale.values())
        assert all(isinstance(image, str) and image for image in chosen.images.values())


@given(st.binary(max_size=60))
@settings(max_examples=100, deadline=None)
def test_any_bytes_are_taken_or_refused(content: bytes) -> None:
    told = "h.yaml:"
    try:
        read(content)
    except ConfigurationError as error:
        told = error.problem
    assert told.startswith("h.yaml:")


def described() -> dict[str, Any]:
    return schema(Config, "hailbox.yaml")


def test_the_schema_in_the_documentation_is_that_of_the_type() -> None:
    """Run this file to write it."""
    assert json.loads(SCHEMA.read_text()) == described()


def test_the_schema_agrees_with_the_reader() -> None:
    properties = described()["properties"]
    assert set(properties) == set(vars(Config()))
    scale = properties["scale"]["anyOf"][0]["properties"]["chunkd"]
    assert (scale["minimum"], scale["maximum"]) == (1, 32)
    override = properties["services"]["anyOf"][0]
    assert re.search(next(iter(override["patternProperties"])), "chunkd-12")
    assert override["additionalProperties"] is False
    build = override["properties"]["cld"]["properties"]["build"]["anyOf"][0]["anyOf"]
    assert [entry["type"] for entry in build] == ["string", "object"]


def test_the_file_to_begin_with_chooses_nothing_and_is_right_when_uncommented() -> None:
    text = example(Config, "A heading.")
    assert read(text) == Config()
    keys = [line.removeprefix("# ") for line in text.splitlines() if re.match(r"# [a-z]+: \S", line)]
    assert read("\n".join(keys)) != Config()


if __name__ == "__main__":
    SCHEMA.write_text(json.dumps(described(), indent=2) + "\n")
