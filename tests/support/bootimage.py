"""A real bootable image: the installer's initial RAM disk in Debian's package debian-installer-12-netboot-amd64."""

import os
import subprocess
import tempfile
from pathlib import Path

PACKAGE = "debian-installer-12-netboot-amd64"
MEMBER = "./usr/lib/debian-installer/images/12/amd64/text/debian-installer/amd64/initrd.gz"


def boot_image() -> Path:
    """The path of the image, fetched once and kept in the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "hailbox"
    kept = cache / "debian-installer-initrd.gz"
    if not kept.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            subprocess.run(["apt-get", "download", "-q", PACKAGE], cwd=folder, check=True, capture_output=True)
            package = next(Path(folder).glob("*.deb"))
            archive = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE)
            part = Path(folder) / "image"
            with part.open("wb") as out:
                subprocess.run(["tar", "-xO", MEMBER], stdin=archive.stdout, stdout=out, check=True)
            assert archive.wait() == 0
            part.replace(kept)
    return kept
