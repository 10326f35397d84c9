"""Finding `hailbox.yaml`, and what is checked about the files that it names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hailbox.model.config import Config
from hailbox.model.errors import ConfigurationError
from hailbox.stack import configfile
from hailbox.stack.configfile import load


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "project" / "deep" / "er").mkdir(parents=True)
    return tmp_path / "project"


def refusal(directory: Path, file: Path | None = None) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        load(directory, file)
    assert caught.value.remedy
    return caught.value


def test_no_file_no_choices(project: Path) -> None:
    assert load(project) == configfile.Loaded(Config())


def test_it_is_found_upwards_and_the_nearest_counts(project: Path) -> None:
    (project / "hailbox.yaml").write_text("stack: top\n")
    assert load(project / "deep" / "er").config == Config(stack="top")
    (project / "deep" / "hailbox.yaml").write_text("scale: {chunkd: 2}\n")
    assert load(project / "deep" / "er").config == Config(scale={"chunkd": 2})


def test_a_file_that_is_named_is_the_only_one(project: Path) -> None:
    (project / "hailbox.yaml").write_text("stack: top\n")
    (project / "hailbox.override.yaml").write_text("profile: fs\n")
    other = project / "other.yml"
    other.write_text("stack: other\n")
    assert load(project, other).config == Config(stack="other")
    assert "cannot be read: No such file" in refusal(project, project / "none.yaml").problem


def test_an_override_beside_it_wins(project: Path) -> None:
    (project / "hailbox.yaml").write_text("stack: top\nscale: {chunkd: 2, iwhd: 1}\n")
    (project / "hailbox.override.yaml").write_text("scale: {chunkd: 3}\n")
    loaded = load(project / "deep")
    assert loaded.config == Config(stack="top", scale={"chunkd": 3, "iwhd": 1})
    assert configfile.origins(loaded, {"profile": "HAILBOX_PROFILE"}) == {
        "stack": f"{project}/hailbox.yaml:1:8",
        "profile": "HAILBOX_PROFILE",
        "scale": f"{project}/hailbox.override.yaml:1:8",
        "ports": "default",
        "images": "default",
        "without": "default",
        "seed": "default",
        "credentials": "default",
        "images_from": "default",
        "services": "default",
    }


@pytest.mark.parametrize("name", ["hailbox.yml", "hailbox.override.yml"])
def test_a_misspelt_name_is_not_passed_over(project: Path, name: str) -> None:
    (project / name).write_text("stack: mine\n")
    error = refusal(project / "deep")
    assert error.problem == f"{project / name} is not read"
    assert error.remedy == f"rename it to {name.removesuffix('.yml')}.yaml"


def test_an_override_without_a_file(project: Path) -> None:
    (project / "hailbox.override.yaml").write_text("stack: mine\n")
    assert "has no hailbox.yaml beside it" in refusal(project).problem


def test_a_circular_override(project: Path) -> None:
    (project / "hailbox.yaml").write_text("stack: mine\n")
    (project / "hailbox.override.yaml").symlink_to("hailbox.yaml")
    assert "is the same file as hailbox.yaml" in refusal(project).problem


@pytest.mark.parametrize("name", ["hailbox.yaml", "hailbox.override.yaml"])
def test_what_is_not_a_file(project: Path, name: str) -> None:
    (project / "hailbox.yaml").write_text("")
    (project / name).unlink(missing_ok=True)
    (project / name).mkdir()
    assert refusal(project).problem == f"{project / name} is a directory"
    (project / name).rmdir()
    (project / name).symlink_to("gone")
    assert refusal(project).problem == f"{project / name} is a link to gone, which is not there"
    (project / name).unlink()
    (project / name).symlink_to(name)
    assert "cannot be read: Too many levels" in refusal(project).problem
    (project / name).unlink()
    os.mkfifo(project / name)
    assert refusal(project).problem == f"{project / name} is not a file"


def test_a_file_of_another_user_above_has_to_be_named(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = project / "hailbox.yaml"
    path.write_text("stack: theirs\n")
    mine = os.geteuid()
    monkeypatch.setattr(configfile.os, "geteuid", lambda: mine + 1)
    lstat = Path.lstat

    def foreign(self: Path) -> os.stat_result:
        status = lstat(self)
        return os.stat_result((*status[:4], mine + 2, *status[5:])) if self == path else status

    monkeypatch.setattr(Path, "lstat", foreign)
    error = refusal(project / "deep")
    assert error.problem == f"{path} belongs to another user"
    assert error.remedy == f"if you trust it, name it: -f {path}"
    assert load(project / "deep", path).config.stack == "theirs"


def test_directories_are_relative_to_the_file_and_a_configuration_is_read(project: Path) -> None:
    (project / "own").mkdir()
    (project / "own" / "Dockerfile").write_text("FROM scratch\n")
    (project / "src" / "haild").mkdir(parents=True)
    (project / "src" / "haild" / "__init__.py").touch()
    (project / "tabled.conf").write_text("<Group>x</Group>\n")
    (project / "hailbox.yaml").write_text(
        "services: {iwhd: {build: own}, cld: {source: .}, tabled: {config: tabled.conf}}\n"
    )
    services = load(project / "deep").config.services
    assert services["iwhd"].build is not None
    assert services["iwhd"].build.context == str(project / "own")  # type: ignore[union-attr]
    assert services["cld"].source == str(project)
    assert services["tabled"].config == "<Group>x</Group>\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("services: {cld: {source: .}}", "1:26: {project} has no src/haild"),
        ("services: {iwhd: {build: none}}", "1:26: there is no {project}/none/Dockerfile"),
        ("services: {iwhd: {build: {context: ., dockerfile: D}}}", "1:26: there is no {project}/D"),
        ("services: {iwhd: {config: none}}", "1:27: services.iwhd.config: {project}/none cannot be read: No such"),
        ("services: {iwhd: {config: deep}}", "1:27: services.iwhd.config: {project}/deep is a directory"),
    ],
)
def test_what_a_file_names_has_to_be_there(project: Path, text: str, problem: str) -> None:
    (project / "hailbox.yaml").write_text(text)
    assert refusal(project).problem.startswith(f"{project}/hailbox.yaml:{problem.format(project=project)}")


def test_a_file_beyond_all_measure_is_refused(project: Path) -> None:
    (project / "hailbox.yaml").write_text("#" * (configfile.LARGEST + 1))
    assert "is larger than 1 MiB" in refusal(project).problem
