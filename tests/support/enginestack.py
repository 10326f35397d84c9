"""A stack on the real engine, driven through the command line as a user would."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import botocore.config
import docker
import docker.models.containers

ROOT = Path(__file__).parents[2]
ARTEFACTS = ROOT / "artefacts"


@dataclass
class Answer:
    """What a run of the program returned."""

    status: int
    data: Any
    errors: list[dict[str, str]]


@dataclass
class Stack:
    """One stack, driven through the command line as a user would."""

    name: str
    home: Path
    client: docker.DockerClient = field(default_factory=docker.from_env)

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "hailbox", "--stack", self.name, *words]

    def environment(self) -> dict[str, str]:
        return os.environ | {"HAILBOX_STACK": "never-to-be-used"}

    def run(self, *words: str, ok: bool = True) -> Answer:
        """Run a command with --json from an empty directory; with `ok` it has to succeed."""
        return self._run(self.command(*words, "--json"), self.environment(), ok)

    def run_here(self, *words: str, ok: bool = True) -> Answer:
        """As `run`, for the stack that the hailbox.yaml in the directory names."""
        environment = {name: value for name, value in os.environ.items() if name != "HAILBOX_STACK"}
        return self._run([sys.executable, "-m", "hailbox", *words, "--json"], environment, ok)

    def _run(self, command: list[str], environment: Mapping[str, str], ok: bool) -> Answer:
        done = subprocess.run(command, cwd=self.home, env=environment, capture_output=True, text=True)
        assert done.stdout, f"{command} printed nothing; its errors: {done.stderr}"
        document = json.loads(done.stdout)
        assert document["exit_code"] == done.returncode
        if ok:
            assert done.returncode == 0, json.dumps(document["errors"], indent=1)
        return Answer(done.returncode, document["data"], document["errors"])

    def env(self) -> dict[str, str]:
        return dict(self.run("env").data)

    def s3(self, *, attempts: int = 2, read_timeout: float = 30, env: Mapping[str, str] | None = None) -> Any:
        """A boto3 client of the stack's tabled, with the stack's credentials; `read_timeout` in seconds.

        `env` is what `env()` returns, where the caller has it already.
        """
        env = env or self.env()
        return boto3.client(
            "s3",
            endpoint_url=env["AWS_ENDPOINT_URL"],
            aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
            region_name=env["AWS_DEFAULT_REGION"],
            config=botocore.config.Config(retries={"total_max_attempts": attempts}, read_timeout=read_timeout),
        )

    def container(self, replica: str) -> docker.models.containers.Container:
        return self.client.containers.get(f"hailbox-{self.name}-{replica}")

    def containers(self) -> list[str]:
        """The names of all containers of the stack, running or not."""
        label = {"label": f"org.hailbox.stack={self.name}"}
        return [str(c.name) for c in self.client.containers.list(all=True, filters=label, ignore_removed=True)]

    def labelled(self) -> list[str]:
        """Everything on the engine that carries the stack's label, by name."""
        label = {"label": f"org.hailbox.stack={self.name}"}
        volumes, networks = self.client.volumes.list(filters=label), self.client.networks.list(filters=label)
        return [*self.containers(), *(str(thing.name) for thing in (*volumes, *networks))]

    def keep_artefacts(self, folder: Path) -> None:
        """Leave what explains a failure in one folder."""
        folder.mkdir(parents=True, exist_ok=True)
        for word in ("compose", "status", "logs"):
            done = subprocess.run(
                self.command(word), cwd=self.home, env=self.environment(), capture_output=True, text=True
            )
            (folder / f"{word}.txt").write_text(done.stdout + done.stderr)
        label = {"label": f"org.hailbox.stack={self.name}"}
        described = [
            container.attrs for container in self.client.containers.list(all=True, filters=label, ignore_removed=True)
        ]
        (folder / "inspect.json").write_text(json.dumps(described, indent=1))
