"""The program on the engine in memory, what ails its replicas, and its advice, followed to the letter."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from hailbox.cli import command as cli
from hailbox.cli.app import app
from hailbox.context import Context
from hailbox.engine.fake import FakeEngine
from hailbox.engine.port import Container, ContainerDetails, ContainerState
from hailbox.model import names
from hailbox.model.config import Config
from hailbox.stack import definitions
from support import advice
from support.fakestack import EngineProbes, container_of

STACK = "test"


@dataclass(frozen=True)
class Answer:
    """What a command ended with."""

    status: int
    data: Any
    errors: list[dict[str, str]]


class World:
    """One stack on the engine in memory, and the command line that drives it."""

    def __init__(self, fake: FakeEngine, folder: Path, patch: pytest.MonkeyPatch, read: Callable[[], str]) -> None:
        self.fake, self.folder, self.patch, self._read = fake, folder, patch, read
        self.probes = EngineProbes(fake, STACK)
        self.chosen = {"NAME": "other", "OTHER-NAME": "other-name", "FILE": str(folder / "file")}
        """What stands for the words that an advice leaves to the user."""
        self._with_data: set[str] = set()
        self.work: dict[str, bytes] = {"-lostprocesses-": b"[]"}
        """By part of a helper's name: what it prints."""
        fake.work = lambda helper: next((said for part, said in self.work.items() if part in helper.name), b"ready\n")
        patch.setattr(cli, "make_context", self._context)
        patch.chdir(folder)
        patch.delenv("HAILBOX_STACK", raising=False)

    def _context(self, command: str, config: Config, report: Any) -> Context:
        probes = self.probes if config.stack == STACK else EngineProbes(self.fake, config.stack)
        return Context(self.fake, definitions.load_catalog(), config, report, command, watch=probes)

    def run(self, *words: str) -> Answer:
        """Run a command with --json, about the stack unless it names another."""
        about = () if "--stack" in words else ("--stack", STACK)
        self._read()
        status = int(app(["--json", *about, *words], prog_name="hailbox", standalone_mode=False) or 0)
        document = json.loads(self._read())
        return Answer(status, document["data"], document["errors"])

    def up(self) -> None:
        """Bring the stack up, with something in each volume."""
        assert self.run("up").status == 0
        for name, content in self.fake.contents.items():
            self.fake.contents[name] = replace(content, written=1)
        self._with_data = {name for name in self.fake.contents if self._is_data(name)}

    def meets(
        self,
        code: str,
        *words: str,
        hand: Callable[[], object] | None = None,
        says: str = "",
        then: Sequence[str] = (),
        keeps: bool = True,
    ) -> None:
        """Run a command that ends with this error, do what it advises, and see that it has helped.

        hand: what it advises in words, and a person does. says: a pattern of these words. then: what must succeed in
        the end, if not the command itself. keeps: whether all data must be there still.
        """
        ended = self.run(*words)
        assert ended.errors, f"{words} succeeded"
        error = ended.errors[0]
        assert error["code"] == code, error
        assert re.search(says, error["remedy"]), error["remedy"]
        if keeps:
            assert not re.search(r"\breset\b|discard", error["remedy"]), error["remedy"]
        if hand is not None:
            hand()
        advised = advice.commands(error["remedy"])
        assert advised or hand, f"nothing to follow in: {error['remedy']}"
        for command in advised:
            self._follow(command)
        last = self.run(*(then or words))
        assert last.status == 0, f"after {advised or says}: {last.errors}"
        if keeps:
            assert {self.fake.contents[name].written for name in self._with_data} <= {1}

    def _is_data(self, name: str) -> bool:
        return self.fake.all_volumes[name].labels.get(names.KIND) == names.DATA

    def _follow(self, command: list[str]) -> None:
        program, *words = [self.chosen.get(word, word) for word in command]
        if program == "hailbox":
            assert self.run(*words).status == 0, command
        elif words[0] == "rename":
            self.fake.rename_container(self._named(words[1]).id, words[2])
        elif words[0] == "rm":
            if words[-1] in self.fake.markers:
                self.fake.remove_marker(self.fake.markers[words[-1]].id)
            else:
                self.fake.remove_container(self._named(words[-1]).id)
        elif words[0] == "stop":
            for name in words[1:]:
                self._change(name, state=ContainerState.EXITED)
        elif words[:2] == ["network", "rm"]:
            (found,) = [known for known in self.fake.all_networks if known.startswith(words[2])]
            self.fake.remove_network(found)
        else:
            raise AssertionError(f"not to be followed here: {command}")

    def _named(self, name: str) -> Container:
        return next(c for c in self.fake.all_containers.values() if name in (c.name, c.id))

    def _change(self, name: str, **changes: Any) -> None:
        found = self._named(name)
        self.fake.all_containers[found.id] = replace(found, **changes)

    def alter(self, replica: str, **changes: Any) -> None:
        """Change what the engine shows of a replica's container."""
        self._change(container_of(self.fake, replica).name, **changes)

    def ail(
        self,
        replica: str,
        cure: str,
        *,
        status: int = 0,
        state: ContainerState = ContainerState.RUNNING,
        restarts: int = 0,
        memory: bool = False,
    ) -> Callable[[], None]:
        """Have a replica not work until the cure: `start` of its daemon, a `new` container, an `empty` volume, or
        `hand`, which is what this returns."""
        sick = container_of(self.fake, replica).id
        start = self.fake._start
        cured = False

        def heal() -> None:
            nonlocal cured
            cured = True
            self.probes.sick.discard(replica)
            self.fake.details.clear()

        def suffer() -> None:
            container = container_of(self.fake, replica)
            pid = 1 if state is ContainerState.RUNNING else 0
            self.fake.details[container.id] = ContainerDetails(
                status, memory, "", 1.7e9, 1.7e9, restarts, pid, self.fake.limits.get(container.id)
            )
            self.alter(replica, state=state)

        def start_sick(identifier: str) -> None:
            start(identifier)
            container = self.fake.all_containers[identifier]
            if cured or container.labels.get(names.REPLICA) != replica or names.HELPER in container.labels:
                return
            volume = names.data_volume(STACK, replica)
            empty = self.fake.contents[volume].written == 0
            if {"start": True, "new": identifier != sick, "empty": empty}.get(cure, False):
                heal()
            else:
                suffer()

        self.patch.setattr(self.fake, "_start", start_sick)
        self.probes.sick.add(replica)
        suffer()
        return heal
