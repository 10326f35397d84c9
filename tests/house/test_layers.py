"""Layers are imported downward only, as ARCHITECTURE.md draws them."""

import ast
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"

_LOOK = ("hailbox.context", "hailbox.observe", "hailbox.engine.port", "hailbox.model")
"""What every room of the driver may use: the engine's port, what was observed of a stack, and the pure middle."""

_VERBS = (*_LOOK, "hailbox.commands", "hailbox.helper", "hailbox.stack")
"""What a verb in a package of its own may use."""

_SHARED = ("haild.client", "haild.wire", "haild.daemon", "haild.transfer", "haild.backoff")
"""What every daemon may use."""

ALLOWED: dict[str, set[str]] = {
    "hailbox.cli": {
        *(
            "hailbox.commands",
            "hailbox.doctor",
            "hailbox.fault",
            "hailbox.snapshot",
            "hailbox.shell",
            "hailbox.bench",
            "hailbox.console",
            "hailbox.completion",
            "hailbox.trace",
        ),
        *(
            "hailbox.context",
            "hailbox.stack",
            "hailbox.model",
            "hailbox.engine.docker",
            "hailbox.surroundings",
            "hailbox",
        ),
    },
    "hailbox.testing": {"hailbox.processes"},
    "hailbox.completion": {"hailbox.model.names", "hailbox.resources"},
    "hailbox.commands": {
        *_LOOK,
        "haild.client",
        "hailbox.images",
        "hailbox.diagnosis",
        "hailbox.helper",
        "hailbox.stack",
        "hailbox.probe",
        "haild.credentials",
    },
    "hailbox.doctor": {*_VERBS, "hailbox.diagnosis", "hailbox.probe", "hailbox"},
    "hailbox.fault": {*_VERBS},
    "hailbox.snapshot": {*_VERBS},
    "hailbox.trace": {*_LOOK, "hailbox.stack"},
    "hailbox.console": {
        *(
            *_VERBS,
            "hailbox.trace",
            "hailbox.bench",
            "hailbox.diagnosis",
            "hailbox.doctor",
            "hailbox.fault",
            "hailbox.snapshot",
        ),
        *("haild.client", "haild.wire"),
    },
    "hailbox.bench": {"hailbox.context", "hailbox.stack", "hailbox.model", "haild.client"},
    "hailbox.shell": {"hailbox.stack", "hailbox.model", "haild.client", "haild.wire"},
    "hailbox.diagnosis": {*_LOOK, "hailbox.helper", "hailbox.probe"},
    "hailbox.stack": {
        *(*_LOOK, "hailbox.diagnosis", "hailbox.helper", "hailbox.images", "hailbox.probe", "hailbox.resources"),
        *("hailbox.engine.composecli", "hailbox.processes", "haild.credentials"),
    },
    "hailbox.helper": {*_LOOK},
    "hailbox.helper.programs": set(),
    "hailbox.probe": {"haild.wire", "haild.client"},
    "hailbox.images": {
        "hailbox.engine.port",
        "hailbox.model",
        "hailbox.resources",
        "hailbox.surroundings",
        "hailbox",
    },
    "hailbox.engine": {"hailbox.model", "hailbox.surroundings", "haild.credentials"},
    "hailbox.model": {"hailbox"},
    "haild.wire": set(),
    "haild.client": {"haild.wire", "haild.backoff"},
    "haild.transfer": set(),
    "haild.http": {"haild.transfer", "haild.daemon.insight", "haild.wire.traceparent"},
    "haild.daemon": {"haild.transfer", "haild.backoff", "haild.wire"},
    "haild.cld": {*_SHARED},
    "haild.chunkd": {*_SHARED},
    "haild.tabled": {*_SHARED, "haild.http"},
    "haild.tabled.http": {
        *("haild.tabled.bodies", "haild.tabled.metadata", "haild.tabled.operations", "haild.tabled.s3"),
        *("haild.client", "haild.daemon", "haild.http", "haild.transfer", "haild.wire"),
    },
    "haild.tabled.operations": {
        *("haild.tabled.bodies", "haild.tabled.encryption", "haild.tabled.metadata", "haild.tabled.s3", "haild.wire"),
        "haild.http.form",
        "haild.http.origin",
    },
    "haild.tabled.group": {
        "haild.backoff",
        *(
            "haild.tabled.http",
            "haild.tabled.operations",
            "haild.tabled.bodies",
            "haild.tabled.encryption",
            "haild.tabled.metadata",
        ),
        *("haild.tabled.configuration", "haild.client", "haild.daemon", "haild.http.server", "haild.wire"),
        "haild.http.request",
    },
    "haild.tabled.encryption": {"haild.tabled.metadata", "haild.tabled.s3", "haild.wire"},
    "haild.tabled.bodies": {
        *("haild.backoff", "haild.tabled.metadata", "haild.tabled.s3", "haild.client", "haild.daemon"),
        "haild.transfer",
    },
    "haild.tabled.metadata": {"haild.backoff", "haild.tabled.s3", "haild.daemon"},
    "haild.tabled.s3": {"haild.wire"},
    "haild.iwhd": {*_SHARED, "haild.http"},
    "haild.iwhd.http": {
        *("haild.iwhd.registration", "haild.iwhd.warehouse", "haild.iwhd.provider", "haild.iwhd.metadata"),
        *("haild.iwhd.configuration", "haild.iwhd.access", "haild.iwhd.settings"),
        *("haild.daemon", "haild.http", "haild.transfer", "haild.wire"),
    },
    "haild.iwhd.registration": {
        *("haild.iwhd.warehouse", "haild.iwhd.metadata", "haild.iwhd.access", "haild.iwhd.settings"),
        *("haild.client", "haild.wire"),
    },
    "haild.iwhd.warehouse": {
        "haild.backoff",
        *("haild.iwhd.provider", "haild.iwhd.metadata", "haild.iwhd.settings", "haild.client", "haild.wire"),
    },
    "haild.iwhd.provider": {"haild.iwhd.settings", "haild.client", "haild.transfer", "haild.wire"},
    "haild.iwhd.provider.backend": {
        *("haild.iwhd.provider.base", "haild.iwhd.provider.filecheck", "haild.iwhd.provider.remote"),
        "haild.iwhd.provider.spool",
        *("haild.iwhd.settings", "haild.client", "haild.transfer", "haild.wire"),
    },
    "haild.iwhd.metadata": {"haild.daemon", "haild.wire"},
}
"""By package, what it may import besides itself: only what is below it."""

SPEAKS_HTTP: dict[str, set[str]] = {
    "haild.iwhd": set(),
    "haild.tabled": set(),
    "haild.http": set(),
    "haild.client": {
        "haild.client.http",
        "haild.client.iwhd",
        "haild.client.s3",
        "haild.client.swift",
        "haild.client.webhook",
    },
}
"""By package, the only rooms of it that may import aiohttp."""

IMPURE = {"socket", "asyncio", "time", "pathlib", "os", "subprocess", "docker", "http", "requests", "aiohttp", "io"}


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts)


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def within(name: str, packages: set[str]) -> bool:
    # `hailbox` itself stands for its attributes (the version), not for its sub-packages.
    roots = {package for package in packages if package != "hailbox"}
    return name in ("hailbox", "hailbox.__version__") or any(
        name == root or name.startswith(root + ".") for root in roots
    )


def modules_below(package: str) -> list[Path]:
    return sorted((SOURCE / package.replace(".", "/")).rglob("*.py"))


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_package_imports_only_what_is_below_it(package: str) -> None:
    modules = modules_below(package)
    assert modules, f"{package} has no modules"
    wrong = [
        f"{module_of(path)} imports {name}"
        for path in modules
        for name in imports_of(path)
        if name.split(".")[0] in ("hailbox", "haild") and not within(name, {package, *ALLOWED[package]})
    ]
    assert wrong == []


def test_every_package_has_its_rule() -> None:
    packages = {
        f"{top}.{entry.name}"
        for top in ("hailbox", "haild")
        for entry in (SOURCE / top).iterdir()
        if (entry / "__init__.py").exists()
    }
    assert packages <= set(ALLOWED)


@pytest.mark.parametrize("package", sorted(SPEAKS_HTTP))
def test_aiohttp_is_imported_only_where_http_is_spoken(package: str) -> None:
    wrong = [
        module_of(path)
        for path in modules_below(package)
        if any(name.split(".")[0] == "aiohttp" for name in imports_of(path))
        and not within(module_of(path), SPEAKS_HTTP[package])
    ]
    assert wrong == []


@pytest.mark.parametrize("package", ["hailbox.model", "haild.wire"])
def test_pure_packages_touch_nothing(package: str) -> None:
    wrong = [
        f"{module_of(path)} imports {name}"
        for path in modules_below(package)
        for name in imports_of(path)
        if name.split(".")[0] in IMPURE and not name.startswith("http.HTTPStatus")
    ]
    assert wrong == []


def test_only_one_package_talks_to_the_engine() -> None:
    """`hailbox.engine.docker` is the client, and one module of it imports the SDK, which is 0.1 s of a command."""

    def users(*libraries: str) -> set[str]:
        return {
            module_of(path)
            for path in modules_below("hailbox")
            if any(name.split(".")[0] in libraries for name in imports_of(path))
        }

    assert users("docker", "requests", "urllib3") == {"hailbox.engine.docker.sdk"}
    assert users("http", "aiohttp") & {module_of(path) for path in modules_below("hailbox/engine")} == set()


def test_one_module_of_iwhd_knows_sqlite() -> None:
    """All others keep to the Protocols of `metadata/port.py`, so that another database can take its place."""
    importers = [module_of(path) for path in modules_below("haild.iwhd") if "sqlite3" in imports_of(path)]
    assert importers == ["haild.iwhd.metadata.sqlite"]


def test_options_of_several_commands_are_in_no_command() -> None:
    """Else one command's file loads another's, and everything that one works with."""
    files = modules_below("hailbox.cli.commands")
    wrong = [
        f"{module_of(path)} imports {name}"
        for path in files
        for name in imports_of(path)
        if name.startswith("hailbox.cli.commands")
    ]
    assert wrong == []


def test_modules_are_short() -> None:
    long = {
        module_of(path): lines
        for top in ("hailbox", "haild")
        for path in modules_below(top)
        if (lines := len(path.read_text().splitlines())) > 520
    }
    assert long == {}


def test_programs_for_helpers_import_the_standard_library_only() -> None:
    """They run in a container that need not have anything else, and one loader ships them."""
    wrong = [
        f"{module_of(path)} imports {name}"
        for path in modules_below("hailbox.helper.programs")
        for name in imports_of(path)
        if name.split(".")[0] not in sys.stdlib_module_names and not name.startswith("hailbox.helper.programs.")
    ]
    assert wrong == []


def test_the_driver_does_not_read_the_daemons_source() -> None:
    assert [
        f"{module_of(path)} imports {name}"
        for path in modules_below("hailbox")
        for name in imports_of(path)
        if name.startswith("haild.daemon")
    ] == []
