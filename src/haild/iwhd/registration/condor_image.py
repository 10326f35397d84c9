"""`dc-condor-image`: makes an image known to a Condor pool by putting it on its NFS directory (iwhd.md section 11).

Arguments: BUCKET KEY NFSDIR [KERNEL RAMDISK]; run in the directory in which BUCKET/KEY is the image. Image and
domain description are complete under NFSDIR/staging before they are moved into NFSDIR. Prints `IMAGE KEY`.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape, quoteattr

MEMORY: Final = 524288
"""KiB of memory in the description; the pool's submit file overrides it."""

_DOMAIN: Final = """<?xml version="1.0" encoding="utf-8"?>
<domain type="kvm">
  <name>{name}</name>
  <uuid>00000000-0000-0000-0000-000000000000</uuid>
  <memory>{memory}</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch="x86_64" machine="pc">hvm</type>
    <boot dev="hd"/>
  </os>
  <devices>
    <disk type="file" device="disk">
      <driver name="qemu" type="raw"/>
      <source file={source}/>
      <target dev="vda" bus="virtio"/>
    </disk>
  </devices>
</domain>
"""


class ImageError(Exception):
    """The image cannot be made known; the text says why."""


def domain_description(key: str) -> str:
    """The libvirt domain (libvirt.org/formatdomain.html) of an image called `key`."""
    return _DOMAIN.format(name=escape(key), memory=MEMORY, source=quoteattr(key))


def install(image: Path, key: str, directory: Path) -> None:
    """Put `image` and its description into `directory`. Raises ImageError, OSError."""
    if key in ("", ".", "..") or "/" in key:
        raise ImageError(f"{key!r} cannot be the name of an image")
    staging = directory / "staging"
    if not directory.is_dir() or not staging.is_dir():
        raise ImageError(f"{directory} is no directory with a directory staging in it")
    if not image.is_file():
        raise ImageError(f"there is no image {image}")
    with tempfile.TemporaryDirectory(prefix="image-", dir=staging) as temporary:
        copy = Path(temporary) / key
        description = Path(temporary) / f"{key}.xml"
        shutil.copyfile(image, copy)
        description.write_text(domain_description(key), encoding="utf-8")
        # The description last: a reader that finds it finds the image too.
        copy.replace(directory / key)
        description.replace(directory / description.name)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    values = sys.argv[1:] if arguments is None else list(arguments)
    if not 3 <= len(values) <= 5:
        sys.stderr.write("usage: dc-condor-image BUCKET KEY NFSDIR [KERNEL RAMDISK]\n")
        return 2
    bucket, key, directory = values[:3]
    try:
        install(Path(bucket) / key, key, Path(directory))
    except (ImageError, OSError) as error:
        sys.stdout.write(f"ERROR {error}\n")
        return 1
    sys.stdout.write(f"IMAGE {key}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
