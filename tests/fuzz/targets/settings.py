"""The text of configurations and of records in CLD: `haild.daemon.settings`, and chunkd's reading of it."""

from collections.abc import Iterator

from haild.chunkd import configuration
from haild.daemon import settings
from haild.wire.chunk import record as chunkrecord

NAMES = ("Listen", "Port", "PortFile", "Node", "Path", "InfoPath", "NID", "CLD", "Host", "SSL", "Check", "Timeout")
TOKENS = tuple(f"<{name}>".encode() for name in NAMES) + tuple(f"</{name}>".encode() for name in NAMES)
TOKENS += (
    b"<!--",
    b"-->",
    b"<![CDATA[",
    b"]]>",
    b"<!DOCTYPE",
    b"<?xml",
    b"&amp;",
    b"&#0;",
    b"auto",
    b"99999999999999999999",
)


def seeds() -> Iterator[bytes]:
    yield chunkrecord.encode_record(1, [("localhost.localdomain", 8082)])
    yield (
        b"<ForceHost>localhost.localdomain</ForceHost>\n<SSL><PrivateKey>k.pem</PrivateKey><Cert>c.pem</Cert></SSL>\n"
        b"<Listen><Port>auto</Port><PortFile>chunkd.port</PortFile></Listen>\n<PID>chunkd.pid</PID>\n<Path>data</Path>\n"
        b"<NID>1</NID>\n<CLD><PortFile>cld.port</PortFile><Host>localhost</Host></CLD>\n<InfoPath>/chunkd-test/1</InfoPath>"
        b"<Check><User>testuser</User><User>other</User></Check><Timeout>5.5</Timeout><ScrubDays>0</ScrubDays>"
    )
    minimal = b"<Listen><Port>%s</Port></Listen><Path>d</Path><InfoPath>/c/1</InfoPath><NID>%s</NID>"
    yield minimal % (b"8082", b"1")
    yield minimal % (b"9" * 5000, b"1")
    yield minimal % (b"1", b"9" * 5000)


def fuzz(data: bytes) -> None:
    try:
        root = settings.parse(data)
    except settings.SettingsError:
        return
    try:
        read = configuration.read(root)
    except settings.SettingsError:
        return
    assert read.listeners
    assert all(0 <= listener.port <= 65535 for listener in read.listeners)
    assert read.nid is None or 1 <= read.nid <= configuration.MAXIMUM_NID
