"""Layers are imported downward only (design, section 3)."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"

ALLOWED = {
    "hailbox.cli": {
        "hailbox.cli",
        "hailbox.stack",
        "hailbox.doctor",
        "hailbox.fault",
        "hailbox.snapshot",
        "hailbox.shell",
        "hailbox.bench",
        "hailbox.model",
        "hailbox.engine.docker",
        "hailbox",
    },
    "hailbox.doctor": {
        "hailbox.doctor",
        "hailbox.stack",
        "hailbox.probe",
        "hailbox.engine.port",
        "hailbox.model",
        "hailbox",
    },
    "hailbox.fault": {"hailbox.fault", "hailbox.stack", "hailbox.engine.port", "hailbox.model"},
    "hailbox.snapshot": {"hailbox.snapshot", "hailbox.stack", "hailbox.engine.port", "hailbox.model"},
    "hailbox.bench": {"hailbox.bench", "hailbox.stack", "hailbox.model", "haild.client"},
    "hailbox.shell": {"hailbox.shell", "hailbox.stack", "hailbox.model", "haild.client", "haild.wire"},
    "hailbox.stack": {
        "hailbox.stack",
        "hailbox.images",
        "hailbox.probe",
        "hailbox.engine.port",
        "hailbox.engine.composecli",
        "hailbox.model",
        "hailbox.resources",
        "haild.credentials",
    },
    "hailbox.probe": {"hailbox.probe", "haild.wire", "haild.client"},
    "hailbox.images": {"hailbox.images", "hailbox.engine.port", "hailbox.model", "hailbox.resources", "hailbox"},
    "hailbox.engine": {"hailbox.engine", "hailbox.model", "haild.credentials"},
    "hailbox.model": {"hailbox.model", "hailbox"},
    "haild.wire": {"haild.wire"},
    "haild.client": {"haild.client", "haild.wire"},
    "haild.daemon": {"haild.daemon"},
    "haild.cld": {"haild.cld", "haild.client", "haild.wire", "haild.daemon"},
    "haild.chunkd": {"haild.chunkd", "haild.client", "haild.wire", "haild.daemon"},
    "haild.tabled": {"haild.tabled", "haild.client", "haild.wire", "haild.daemon"},
    "haild.iwhd": {"haild.iwhd", "haild.client", "haild.wire", "haild.daemon"},
}

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
        if name.split(".")[0] in ("hailbox", "haild") and not within(name, ALLOWED[package])
    ]
    assert wrong == []


def test_every_package_has_its_rule() -> None:
    packages = {
        f"{top}.{entry.name}"
        for top in ("hailbox", "haild")
        for entry in (SOURCE / top).iterdir()
        if (entry / "__init__.py").exists()
    }
    assert packages == set(ALLOWED)


@pytest.mark.parametrize("package", ["hailbox.model", "haild.wire"])
def test_pure_packages_touch_nothing(package: str) -> None:
    wrong = [
        f"{module_of(path)} imports {name}"
        for path in modules_below(package)
        for name in imports_of(path)
        if name.split(".")[0] in IMPURE and not name.startswith("http.HTTPStatus")
    ]
    assert wrong == []


def test_only_one_module_sends_requests_to_the_engine() -> None:
    """Whatever asks it goes through the seam; and no SDK, which would be a quarter of a second of every command."""
    users = {
        module_of(path)
        for path in modules_below("hailbox")
        if any(name.startswith("hailbox.engine.transport") for name in imports_of(path))
    }
    assert users == {"hailbox.engine.docker"}
    assert [
        module_of(p) for p in modules_below("hailbox") if any(n.split(".")[0] == "docker" for n in imports_of(p))
    ] == []


def test_modules_are_short() -> None:
    long = {
        module_of(path): lines
        for top in ("hailbox", "haild")
        for path in modules_below(top)
        if (lines := len(path.read_text().splitlines())) > 520
    }
    assert long == {}
