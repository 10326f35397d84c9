"""Registration: the contracts with the external programs, checked by programs that record calls (iwhd.md 11)."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree

import pytest

from haild.iwhd.registration import condor_image
from haild.iwhd.registration.program import Outcome, read_line
from support.iwhd_daemon import FORM, Iwhd, fs, running

PROGRAM = """#!{python}
import json, os, sys
record = {{"arguments": sys.argv[1:], "image": open("b/k").read() if os.path.exists("b/k") else None}}
files = [path for path in sys.argv[1:] if path.startswith("/") and os.path.isfile(path)]
record["files"] = {{path: open(path).read() for path in files}}
record["modes"] = [os.stat(path).st_mode & 0o777 for path in record["files"]]
with open({record!r}, "w") as file:
    json.dump(record, file)
script = open({script!r}).read()
print(script, flush=True, file=sys.stderr if "stderr" in script else sys.stdout)
sys.exit(3 if "status" in script else 0)
"""


class Site:
    """A warehouse with a provider of each kind that registers, and recording programs."""

    def __init__(self, root: Path) -> None:
        self.record = root / "record.json"
        self.script = root / "script"
        programs = root / "bin"
        programs.mkdir()
        for name in ("dc-register-image", "dc-rhev-image", "dc-vmware-image"):
            program = programs / name
            program.write_text(
                PROGRAM.format(python=sys.executable, record=str(self.record), script=str(self.script))
            )
            program.chmod(0o755)
        self.programs = programs
        self.shared = root / "nfs"
        (self.shared / "staging").mkdir(parents=True)
        types = {"rhev": "fs-rhev-m", "condor": "fs-condor", "vmw": "fs-vmw"}
        attributes = {"rhev": {}, "condor": {"nfsdir": str(self.shared)}, "vmw": {"key": "vu", "secret": "vs"}}
        local = [{**fs(root), "name": name, "type": kind} | attributes[name] for name, kind in types.items()]
        s3 = {"name": "ec2", "type": "s3", "host": "h", "port": 1, "key": "ak", "secret": "as", "ami-uid": "77"}
        remote = {"name": "far", "type": "http", "host": "127.0.0.1", "port": 1}
        self.iwhd = Iwhd(root, [fs(root), *local, s3, remote], access={"paths": ["/nowhere"]})

    def register(self, says: str, /, **form: str) -> tuple[int, str]:
        """The status, and what `ami-id` is afterwards."""
        self.script.write_text(says)
        self.record.unlink(missing_ok=True)
        fields = {name.replace("_", "-"): value for name, value in form.items()}
        answer = self.iwhd.request("POST", "/b/k", urlencode({"op": "register", **fields}), FORM)
        return answer.status, self.iwhd.request("GET", "/b/k/ami-id").text

    def recorded(self) -> dict[str, Any]:
        record: dict[str, Any] = json.loads(self.record.read_text())
        return record


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("registration"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{site.programs}{os.pathsep}{os.environ['PATH']}")
        with running(site.iwhd):
            assert site.iwhd.request("PUT", "/b").status == 201
            assert site.iwhd.request("PUT", "/b/k", b"the image").status == 201
            yield site


def test_ec2(site: Site) -> None:
    cert = {"ami_cert": "CERT", "ami_key": "PRIVATE"}
    assert site.register("hello\nIMAGE ami-123 more", site="ec2", **cert) == (200, "OK ami-123")
    record = site.recorded()
    bucket, key, user, secret, cert_file, key_file, *rest = record["arguments"]
    assert (bucket, key, user, secret) == ("b", "k", "ak", "as")
    assert rest == ["77", "b", "_default_", "_default_"]
    assert record["files"] == {cert_file: "CERT", key_file: "PRIVATE"}
    assert record["modes"] == [0o600, 0o600]
    assert not Path(cert_file).exists()
    more = {"api_key": "u2", "api_secret": "s2", "ami_uid": "8", "ami_bkt": "bkt", "kernel": "kk", "ramdisk": "rr"}
    assert site.register("ERROR nosuch thing", site="ec2", **cert, **more) == (500, "failed nosuch")
    assert site.recorded()["arguments"][6:] == ["8", "bkt", "kk", "rr"]
    assert site.recorded()["arguments"][2:4] == ["u2", "s2"]
    assert site.register("", site="ec2") == (400, "none")
    assert not site.record.exists()
    assert site.register("", site="ec2:rest", **cert)[0] == 400


def test_rhev(site: Site) -> None:
    form = {"api_url": "u", "nfs_host": "h", "nfs_path": "p", "nfs_dir": "d", "api_key": "a", "api_secret": "s"}
    assert site.register("IMAGE 1-2-3 status", site="rhev", **form) == (200, "OK 1-2-3")
    (content,) = site.recorded()["files"].values()
    assert json.loads(content) == {
        "image": "b/k",
        "apiurl": "u",
        "apiuser": "a",
        "apipass": "s",
        "nfshost": "h",
        "nfspath": "p",
        "nfsdir": "d",
        "cluster": "_none_",
    }
    assert site.recorded()["image"] == "the image"
    assert site.register("stderr\nERROR no such host\n", site="rhev", **form) == (500, "failed no such host")
    assert site.register("ERROR " + "x" * 100, site="rhev", **form) == (500, "failed " + "x" * 56)
    assert site.register("IMAGE " + "y" * 100, site="rhev", **form) == (200, "OK " + "y" * 60)
    status, state = site.register("nothing of interest", site="rhev", **form)
    assert (status, state.split()[0]) == (500, "pending")
    assert site.register("IMAGE x", site="rhev", **(form | {"nfs_dir": ""})) == (400, "none")


def test_vmware(site: Site) -> None:
    assert site.register("IMAGE name:k", site="vmw", api_url="u", vm_host="h") == (200, "OK name:k")
    assert site.recorded()["arguments"] == ["u", "vu", "vs", "k", "b/k", "h", "-"]
    status, state = site.register("ERROR not recognised", site="vmw", api_url="u", vm_host="h", vm_name="n")
    assert (status, state.split()[0]) == (500, "pending")
    assert site.recorded()["arguments"][3] == "n"


def test_condor_with_the_program_that_comes_along(site: Site) -> None:
    assert site.register("", site="condor") == (200, "OK k")
    assert (site.shared / "k").read_bytes() == b"the image"
    domain = ElementTree.parse(site.shared / "k.xml").getroot()
    assert (domain.get("type"), domain.findtext("name")) == ("kvm", "k")
    assert domain.findtext("uuid") == "00000000-0000-0000-0000-000000000000"
    kind, disk = domain.find("os/type"), domain.find("devices/disk")
    assert kind is not None
    assert disk is not None
    assert (kind.text, kind.get("arch"), kind.get("machine")) == ("hvm", "x86_64", "pc")
    assert [each.attrib for each in disk] == [
        {"name": "qemu", "type": "raw"},
        {"file": "k"},
        {"dev": "vda", "bus": "virtio"},
    ]
    assert list((site.shared / "staging").iterdir()) == []
    status, state = site.register("", site="condor", nfs_dir="/nowhere")
    assert (status, state.split()[0]) == (500, "pending")
    for elsewhere in ("/etc", "/nowhere/../etc", str(site.iwhd.directory)):
        assert site.register("", site="condor", nfs_dir=elsewhere)[0] == 403


def test_what_cannot_be_registered(site: Site) -> None:
    assert site.register("IMAGE x", site="primary")[0] == 501
    assert site.register("IMAGE x", site="nowhere")[0] == 400
    assert site.register("IMAGE x")[0] == 400
    assert site.register("IMAGE x", site="far")[0] == 400
    assert site.register("IMAGE x", site="far:ec2")[0] == 200  # as upstream, whatever the other side says


def test_registration_elsewhere(site: Site, tmp_path: Path) -> None:
    far = {"name": "far", "type": "http", "host": "127.0.0.1", "port": site.iwhd.port}
    site.script.write_text("IMAGE there")
    with running(Iwhd(tmp_path, [fs(tmp_path), far])) as front:
        assert front.request("PUT", "/b").status == 201
        form = urlencode({"op": "register", "site": "far:ec2", "kernel": "kk", "ami-cert": "not forwarded"})
        assert front.request("POST", "/b/k", form, FORM).status == 200
    # Without certificate there: a required parameter is missing.
    assert site.iwhd.request("GET", "/b/k/ami-id").text == "none"


def test_a_missing_program(site: Site) -> None:
    (site.programs / "dc-vmware-image").unlink()
    reason = "dc-vmware-image is not installed"
    assert site.register("", site="vmw", api_url="u", vm_host="h") == (500, f"failed {reason}")
    assert reason in site.iwhd.log.read_text()


@pytest.mark.parametrize(
    ("line", "outcome"),
    [
        ("IMAGE x", Outcome(True, "x")),
        ("IMAGE\tx y", Outcome(True, "x")),
        (" IMAGE x", None),
        ("IMAGE", None),
        ("IMAGES x", None),
        ("ERROR a b", Outcome(False, "a b")),
        ("ERROR ", None),
    ],
)
def test_lines(line: str, outcome: Outcome | None) -> None:
    assert read_line(line, "line") == outcome


def test_condor_image_refuses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "k").write_text("image")
    assert condor_image.main(["b", "k"]) == 2
    assert condor_image.main(["b", "k", str(tmp_path)]) == 1
    (tmp_path / "staging").mkdir()
    assert condor_image.main(["b", "none", str(tmp_path)]) == 1
    assert condor_image.main(["b", "..", str(tmp_path)]) == 1
    assert capsys.readouterr().out.count("ERROR") == 3
    assert condor_image.main(["b", "k", str(tmp_path), "_default_", "_default_"]) == 0
    assert capsys.readouterr().out == "IMAGE k\n"
