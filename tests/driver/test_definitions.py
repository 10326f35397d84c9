"""What ships in compose/, and how files are read."""

from pathlib import Path

import pytest
import yaml

from hailbox import resources
from hailbox.model.catalog import ONE_SHOT, Catalog
from hailbox.model.errors import UnknownServiceError
from hailbox.stack.definitions import load_catalog, load_profile
from haild.credentials import fill, generate
from haild.daemon import settings


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


def test_every_service_and_profile_is_there(catalog: Catalog) -> None:
    assert set(catalog.services) == {"cld", "chunkd", "tabled", "iwhd", ONE_SHOT}
    assert {"s3", "fs"} <= set(catalog.profiles)
    assert catalog.profile("s3").services == ("cld", "chunkd", "tabled", "iwhd")
    assert catalog.profile("fs").services == ("iwhd",)


def test_what_services_need_exists_and_has_no_circle(catalog: Catalog) -> None:
    settled: set[str] = set()
    while left := set(catalog.services) - settled:
        ready = {name for name in left if set(catalog.services[name].needs) <= settled}
        assert ready, f"these need one another: {left}"
        settled |= ready


def test_the_default_ports_are_those_of_the_originals(catalog: Catalog) -> None:
    ports = {
        port.name: (port.host, port.container) for service in catalog.services.values() for port in service.ports
    }
    assert ports == {"cld": (8081, 8081), "chunk": (8082, 8082), "s3": (8080, 8080), "iwhd": (9090, 9090)}
    assert catalog.services["cld"].ports[0].protocols == ("tcp", "udp")


def test_every_service_that_keeps_data_keeps_it_in_a_volume(catalog: Catalog) -> None:
    assert {name: service.data for name, service in catalog.services.items()} == {
        "cld": "/var/lib/cld",
        "chunkd": "/var/lib/chunkd",
        "tabled": "/var/lib/tabled",
        "iwhd": "/var/lib/iwhd",
        ONE_SHOT: None,
    }


def test_templates_name_only_credentials_that_there_are(catalog: Catalog) -> None:
    credentials = generate()
    filled = 0
    for service in catalog.services.values():
        for files in service.configurations.values():
            for name, template in files.items():
                text = fill(template, credentials)
                filled += text != template
                if name.endswith(".conf"):
                    assert settings.parse(text.encode()).children
                if name.endswith(".users"):
                    assert all(line.count("\t") == 1 for line in text.splitlines())
    assert filled >= 5


def test_a_profile_of_the_user(tmp_path: Path, catalog: Catalog) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("summary: mine\nservices: {cld: [{}], chunkd: [{}, {}]}\n")
    profile = load_profile(path, catalog)
    assert (profile.name, [replica.name for replica in profile.replicas]) == (
        "mine",
        ["cld-1", "chunkd-1", "chunkd-2"],
    )
    path.write_text("summary: mine\nservices: {mongod: [{}]}\n")
    with pytest.raises(UnknownServiceError):
        load_profile(path, catalog)


def test_fragments_are_files_that_anybody_may_read_with_yaml() -> None:
    for path in resources.directory("compose").rglob("*.yaml"):
        assert isinstance(yaml.safe_load(path.read_text()), dict)
