"""The record that a chunkd publishes in CLD (discovery.md section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence


def encode_record(nid: int, sockets: Sequence[tuple[str, int]]) -> bytes:
    """The record of node `nid` with a Socket element for each (host, port), to the byte.

    Text is inserted without escaping, as the specification says.
    """
    lines = ["<Chunk>", f" <NID>{nid}</NID>"]
    for host, port in sockets:
        lines += [" <Socket>", f"  <Host>{host}</Host>", f"  <Port>{port}</Port>", " </Socket>"]
    lines += [" <Geo>", *(f"  <{name}>-</{name}>" for name in ("Area", "Building", "Rack")), " </Geo>", "</Chunk>"]
    return "".join(f"{line}\r\n" for line in lines).encode()
