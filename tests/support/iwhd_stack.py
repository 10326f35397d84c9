"""A real S3 service under iwhd for its tests: cld, chunkd and tabled on loopback."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from haild.client.http import ServiceError
from haild.client.s3 import S3Client
from support.iwhd_daemon import Process, eventually
from support.ports import free_port

KEY = "warehouse"
SECRET = "a secret of the test"


class S3Service:
    """The three daemons; `tabled` can be killed and started again."""

    def __init__(self, root: Path) -> None:
        ports = [free_port() for _ in range(3)]
        self.port = ports[2]
        (root / "users").write_text(f"{KEY}\t{SECRET}\n")
        (root / "cld").mkdir()
        (root / "chunk").mkdir()
        (root / "tdb").mkdir()
        cld = f"<CLD><Host>127.0.0.1</Host><Port>{ports[0]}</Port></CLD>"
        (root / "chunkd.conf").write_text(
            f"<Listen><Port>{ports[1]}</Port><Node>127.0.0.1</Node></Listen><Path>{root}/chunk</Path><NID>1</NID>"
            f"<InfoPath>/chunk-default/1</InfoPath>{cld}<PID>{root}/chunkd.pid</PID>"
        )
        (root / "tabled.conf").write_text(
            f"<TDB>{root}/tdb</TDB><Listen><Port>{self.port}</Port></Listen><Group>default</Group>{cld}"
            f"<ChunkUser>tabled</ChunkUser><ChunkKey>tabled</ChunkKey><Users>{root}/users</Users>"
            f"<PID>{root}/tabled.pid</PID>"
        )
        cld_options = ["-F", "-E", "-d", f"{root}/cld", "-p", str(ports[0]), "-P", f"{root}/cld.pid"]
        self.cld = Process("haild.cld", cld_options, ports[0], root)
        self.chunkd = Process("haild.chunkd", ["-F", "-E", "-C", f"{root}/chunkd.conf"], ports[1], root)
        self.tabled = Process("haild.tabled", ["-F", "-E", "-C", f"{root}/tabled.conf"], self.port, root)

    def provider(self, name: str = "primary", **more: Any) -> dict[str, Any]:
        return {
            "name": name, "type": "s3", "host": "127.0.0.1", "port": self.port, "key": KEY, "secret": SECRET
        } | more  # fmt: skip

    def works(self) -> bool:
        async def round_trip() -> None:
            async with S3Client("127.0.0.1", self.port, key=KEY, secret=SECRET) as client:
                with contextlib.suppress(ServiceError):
                    await client.create_bucket("up")
                await client.put_object("up", "k", b"x")

        with contextlib.suppress(ServiceError):
            asyncio.run(round_trip())
            return True
        return False


@contextlib.contextmanager
def s3_service(root: Path) -> Iterator[S3Service]:
    service = S3Service(root)
    try:
        for process in (service.cld, service.chunkd, service.tabled):
            process.start(wait=False)
        eventually(service.works, "the S3 service works")
        yield service
    finally:
        for process in (service.tabled, service.chunkd, service.cld):
            process.close()
