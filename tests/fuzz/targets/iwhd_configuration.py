"""The configuration of iwhd: `haild.iwhd.configuration`, JSON."""

import json
from collections.abc import Iterator

from haild.iwhd import configuration, provider
from haild.iwhd.settings import RESERVED_KEYS, ProviderSettingsError

TOKENS = (*(f'"{name}":'.encode() for name in sorted(RESERVED_KEYS)), b'"s3"', b'"fs-vmw"', b"1e9", b"\\u0000")


def seeds() -> Iterator[bytes]:
    s3 = {"name": "p", "type": "S3", "host": "h", "port": 80, "key": "k", "secret": "s", "Path": "x", "ami-uid": "7"}
    yield json.dumps([s3, {"name": "v", "type": "fs-vmw", "path": "/x", "n": 5}]).encode()
    yield b'[{"name": "p", "type": "http", "host": "h", "port": 1}]'
    access = {"hosts": ["h"], "providers": ["10.0.0.0/8", ".x:1"], "paths": ["/x"], "token": "t"}
    yield json.dumps({"providers": [s3], "access": access}).encode()


def fuzz(data: bytes) -> None:
    try:
        parsed = configuration.parse(data)
    except ProviderSettingsError:
        return
    providers = parsed.providers
    names = [each.name for each in providers]
    assert names
    assert len(set(names)) == len(names)
    for each in providers:
        back_end = provider.back_end(each.type)
        assert back_end is not None
        assert each.name
        assert all(getattr(each, key) != "" for key in back_end.needs if key in ("host", "path"))
        assert not each.port or 1 <= each.port <= 65535
        assert all(isinstance(value, str) for value in each.attributes.values())
        assert each.attribute("name") == each.name
        assert each.attribute("port") is None
        assert each.attribute("secret") == ""
