"""Each kind of trouble on the engine in memory: the code of what is at its root, and who merely waits for it."""

import dataclasses
import json
import tarfile
import time
from dataclasses import replace
from pathlib import Path

import pytest

from hailbox.commands.down import down
from hailbox.commands.up import up
from hailbox.context import Context
from hailbox.diagnosis import evidence, words
from hailbox.diagnosis.replica import Patient, diagnose
from hailbox.doctor.bundle import write
from hailbox.doctor.examine import doctor, why
from hailbox.doctor.redaction import Redactor
from hailbox.engine.fake import FakeEngine
from hailbox.engine.port import Container, ContainerDetails, ContainerState, Helper, Image
from hailbox.fault.inject import FaultRequest, inject
from hailbox.helper.volumecheck import Trouble
from hailbox.model import names
from hailbox.model.errors import (
    ComposeMissingError,
    DiskFullError,
    EngineUnreachableError,
    HailboxError,
    UnknownStackError,
    UsageError,
)
from hailbox.observe import observe
from hailbox.probe.outcome import Outcome, Reached
from hailbox.snapshot.restore import restore
from hailbox.snapshot.save import save
from hailbox.stack import lock
from support.fakestack import MakeContext


@pytest.fixture
def context(fake: FakeEngine, make_context: MakeContext) -> Context:
    made = make_context()
    up(made)
    return made


def container(fake: FakeEngine, replica: str) -> Container:
    return next(c for c in fake.all_containers.values() if c.labels.get(names.REPLICA) == replica)


def alter(fake: FakeEngine, replica: str, **changes: object) -> None:
    found = container(fake, replica)
    fake.all_containers[found.id] = dataclasses.replace(found, **changes)  # type: ignore[arg-type]


def ended(fake: FakeEngine, replica: str, *, status: int = 1, memory: bool = False, restarts: int = 0) -> None:
    details = ContainerDetails(status, memory, "", 1.7e9, 1.7e9, restarts, 0)
    fake.details[container(fake, replica).id] = details


def codes(context: Context) -> list[str]:
    return [finding.code for finding in why(context).report.findings]


def sicken(context: Context, *replicas: str) -> None:
    context.watch.sick |= set(replicas)  # type: ignore[attr-defined]


def test_a_well_stack_has_no_findings(fake: FakeEngine, context: Context) -> None:
    report = doctor(context).report
    assert report.findings == ()
    assert [check.name for check in report.checks] == [
        "engine",
        "compose",
        "disk",
        "clock",
        "ports",
        "own images",
        "stack",
        "leftovers",
    ]
    assert all(check.ok for check in report.checks)
    assert report.result is not None
    assert report.result.working


def test_followers_are_named_and_not_diagnosed(context: Context) -> None:
    sicken(context, "chunkd-1", "tabled-1", "iwhd-1")
    findings = why(context).report.findings
    assert [finding.code for finding in findings] == ["unresponsive"]
    assert findings[0].problem == "chunkd-1 runs and does not answer: no answer; iwhd-1, tabled-1 wait for it"
    assert findings[0].remedy == "heal it: hailbox --stack test up"


def test_two_roots_are_two_findings(fake: FakeEngine, make_context: MakeContext) -> None:
    context = make_context(scale={"chunkd": 3})
    up(context)
    sicken(context, "chunkd-1", "chunkd-3", "tabled-1")
    problems = [finding.problem for finding in why(context).report.findings]
    assert [problem.split()[0] for problem in problems] == ["chunkd-1", "chunkd-3"]
    assert all("tabled-1 waits for it" in problem for problem in problems)


def test_states_of_the_container(fake: FakeEngine, context: Context) -> None:
    sicken(context, "cld-1", "chunkd-1", "tabled-1", "iwhd-1")
    alter(fake, "cld-1", state=ContainerState.PAUSED)
    assert codes(context) == ["container-paused"]
    alter(fake, "cld-1", state=ContainerState.EXITED)
    assert codes(context) == ["container-stopped"]
    ended(fake, "cld-1", status=137, memory=True)
    assert codes(context) == ["out-of-memory"]
    ended(fake, "cld-1", status=65)
    assert codes(context) == ["data-damaged"]
    alter(fake, "cld-1", state=ContainerState.RESTARTING)
    assert codes(context) == ["data-damaged"]
    ended(fake, "cld-1", status=1, restarts=7)
    fake.output[container(fake, "cld-1").id] = b"cld: no such option"
    finding = why(context).report.findings[0]
    assert finding.code == "crash-loop"
    assert "7 times" in finding.problem
    assert "no such option" in finding.problem
    alter(fake, "cld-1", state=ContainerState.RUNNING)
    assert codes(context) == ["crash-loop"]
    alter(fake, "cld-1", networks=())
    ended(fake, "cld-1")
    assert codes(context) == ["network-gone"]
    fake.remove_container(container(fake, "cld-1").id)
    assert codes(context) == ["container-gone"]


WORDS = [
    (b"chunkd[1]: PUT failed: [Errno 28] No space left on device", "volume-full"),
    (b"chunkd[1]: PUT failed: database or disk is full", "volume-full"),
    (b"cld[1]: attempt to write a readonly database", "volume-read-only"),
    (b"[Errno 30] Read-only file system: '/var/lib/chunkd/x'", "volume-read-only"),
    (b"chunkd[1]: registered", "unresponsive"),
]


@pytest.mark.parametrize(("line", "code"), WORDS)
def test_what_the_log_of_an_own_image_says_of_writing(
    fake: FakeEngine, make_context: MakeContext, line: bytes, code: str
) -> None:
    fake.all_images["my/chunkd"] = Image("sha256:mine", ("my/chunkd",))
    context = make_context(images={"chunkd": "my/chunkd"})
    up(context)
    fake.output[container(fake, "chunkd-1").id] = line
    sicken(context, "chunkd-1", "tabled-1", "iwhd-1")
    assert codes(context) == [code]


@pytest.mark.parametrize("line", [line for line, _ in WORDS])
def test_the_log_of_our_own_daemons_decides_nothing(fake: FakeEngine, context: Context, line: bytes) -> None:
    fake.output[container(fake, "chunkd-1").id] = line
    sicken(context, "chunkd-1", "tabled-1", "iwhd-1")
    assert codes(context) == ["unresponsive"]


@pytest.mark.parametrize(("answer", "code"), [(b"full", "volume-full"), (b"read-only", "volume-read-only")])
def test_what_the_volume_itself_shows(fake: FakeEngine, context: Context, answer: bytes, code: str) -> None:
    fake.work = lambda helper: answer
    sicken(context, "chunkd-1")
    assert codes(context) == [code]
    assert not [c for c in fake.all_containers.values() if names.HELPER in c.labels]


def test_the_last_word_of_the_log_counts() -> None:
    full, read_only = b"No space left on device", b"Read-only file system"
    assert words.said([]) is None
    assert words.said([read_only, full, b"other"]) is Trouble.FULL
    assert words.said([full, read_only]) is Trouble.READ_ONLY


def test_refused_credentials(fake: FakeEngine, context: Context) -> None:
    refused = Outcome("cld-1", Reached.ANSWER, "status 503", 0.1, refused=True)
    for outcome, code in ((refused, "credentials-refused"), (replace(refused, refused=False), "not-working")):
        patient = Patient(context, evidence.collect(context, observe(fake, "test"), outcome))
        assert diagnose(patient).code == code


def test_what_was_done_on_purpose_is_the_root(fake: FakeEngine, context: Context) -> None:
    fake.work = lambda helper: b"ready"
    inject(context, FaultRequest("pause", "chunkd-1"))
    sicken(context, "chunkd-1", "tabled-1", "iwhd-1")
    findings = why(context).report.findings
    assert [finding.code for finding in findings] == ["fault-in-effect"]
    assert "iwhd-1, tabled-1 wait for it" in findings[0].problem
    assert findings[0].remedy == "end it: hailbox --stack test fault clear pause-chunkd-1"
    sicken(context, "cld-1")
    assert codes(context) == ["fault-in-effect", "unresponsive"]


def test_of_several_faults_that_comes_first_of_which_others_are_a_consequence(
    fake: FakeEngine, context: Context
) -> None:
    fake.work = lambda helper: b"ready"
    for replica in ("iwhd-1", "cld-1", "chunkd-1"):
        inject(context, FaultRequest("pause", replica))
    sicken(context, "cld-1", "chunkd-1", "tabled-1", "iwhd-1")
    assert [finding.problem.partition(":")[0] for finding in why(context).report.findings] == [
        "cld-1",
        "chunkd-1",
        "iwhd-1",
    ]


def test_missing_volumes_and_credentials(fake: FakeEngine, context: Context) -> None:
    down(context)
    fake.remove_volume(names.data_volume("test", "tabled-1"))
    assert codes(context) == ["volume-gone", "stack-down"]
    up(context)
    fake.contents[names.credentials_volume("test")] = dataclasses.replace(
        fake.contents[names.credentials_volume("test")], credentials=None
    )
    assert codes(context) == ["credentials-gone"]


class KilledError(BaseException):
    """The driver is gone."""


def test_a_half_restored_stack(fake: FakeEngine, context: Context) -> None:
    save(context, "seed")

    def kill(helper: Helper) -> bytes:
        raise KilledError

    fake.work = kill
    with pytest.raises(KilledError):
        restore(context, "seed")
    assert codes(context) == ["restore-unfinished"]


def test_the_host(fake: FakeEngine, context: Context) -> None:
    fake.free = 100 << 20
    fake.clock_ahead = -3600
    fake.all_volumes["hailbox-old-cld-1"] = dataclasses.replace(
        fake.all_volumes[names.data_volume("test", "cld-1")], name="hailbox-old-cld-1", labels={names.STACK: "old"}
    )
    sicken(context, "cld-1")
    findings = doctor(context).report.findings
    assert [finding.code for finding in findings] == ["disk-full", "clock-skew", "unresponsive", "leftovers"]
    assert "100 MiB" in findings[0].problem
    assert "3600.0 s behind" in findings[1].problem
    assert "stack old: 0 containers, 1 volumes, 0 networks" in findings[3].problem
    assert doctor(context).errors[0].exit_status == findings[0].exit_status == 3


def test_a_stack_in_the_making_is_no_leftover(fake: FakeEngine, context: Context) -> None:
    fake.create_volume("hailbox-new-cld-1", {names.STACK: "new"})
    with lock.held(fake, "new", "up", tell=lambda text: None):
        assert doctor(context).report.findings == ()
    assert [finding.code for finding in doctor(context).report.findings] == ["leftovers"]


def test_an_engine_that_does_not_answer_is_all_there_is_to_say(
    context: Context, fake: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise EngineUnreachableError("no engine answers", "start it")

    monkeypatch.setattr(fake, "version", refuse)
    report = doctor(context).report
    assert [finding.code for finding in report.findings] == ["engine-unreachable"]
    assert report.result is None


def test_without_compose_the_rest_is_looked_at(
    context: Context, fake: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise ComposeMissingError("no Compose", "get one")

    monkeypatch.setattr(fake, "compose_version", refuse)
    report = doctor(context).report
    assert [finding.code for finding in report.findings] == ["compose-missing"]
    assert len(report.checks) == 8


def test_no_stack(make_context: MakeContext, fake: FakeEngine) -> None:
    assert doctor(make_context()).report.findings == ()
    with pytest.raises(UnknownStackError):
        why(make_context())


def unpacked(path: Path) -> dict[str, str]:
    with tarfile.open(path) as archive:
        members = [(member.name, archive.extractfile(member)) for member in archive.getmembers()]
        return {name: stream.read().decode() for name, stream in members if stream}


def test_the_bundle_holds_no_secret(fake: FakeEngine, context: Context, tmp_path: Path) -> None:
    secrets = json.loads(fake.contents[names.credentials_volume("test")].credentials or "")
    leak = " ".join(secrets.values()).encode()
    for found in fake.all_containers.values():
        fake.output[found.id] = b"said " + leak + b" and registry http://me:word@host/"
    (tmp_path / "hailbox.yaml").write_text(f"# {secrets['CLD_SECRET']}\nstack: test\n")
    path = tmp_path / "report.tar.gz"
    write(context, doctor(context).report, path, tmp_path / "hailbox.yaml")
    files = unpacked(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert "hailbox-test/logs/hailbox-test-cld-1.log" in files
    assert "said [" in files["hailbox-test/logs/hailbox-test-cld-1.log"]
    assert json.loads(files["hailbox-test/doctor.json"])["stack"] == "test"
    for name, value in secrets.items():
        if name != "CLD_USER":  # is `tabled` in every stack
            assert not [file for file, text in files.items() if value in text], name
    assert not [file for file, text in files.items() if "me:word" in text]
    with pytest.raises(UsageError, match="exists"):
        write(context, doctor(context).report, path, tmp_path / "hailbox.yaml")


def test_what_looks_like_a_secret_goes_even_where_none_is_known() -> None:
    hidden = Redactor(None).text("key HAILABCDEFGH12345678 secret " + "a1B2" * 10 + " id " + "0123456789abcdef" * 4)
    assert hidden == "key [secret] secret [secret] id " + "0123456789abcdef" * 4
    assert Redactor(None).text("Authorization: AWS x:yz== and Signature=abc&b") == (
        "Authorization: AWS [signature] and Signature=[signature]&b"
    )


def test_parts_that_cannot_be_had_say_why(
    fake: FakeEngine, context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = doctor(context).report

    def refuse(*words: object) -> None:
        raise EngineUnreachableError("gone", "start it")

    for name in ("version", "containers", "images", "volumes"):
        monkeypatch.setattr(fake, name, refuse)
    write(context, report, tmp_path / "r.tgz", tmp_path / "none")
    files = unpacked(tmp_path / "r.tgz")
    assert files["hailbox-test/engine.json"] == "not to be had: gone"
    assert json.loads(files["hailbox-test/doctor.json"])["result"]["stack"] == "test"


def test_a_place_where_nothing_can_be_written(context: Context, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        write(context, doctor(context).report, tmp_path / "no" / "r.tgz", tmp_path / "none")


def test_findings_are_of_the_tree(context: Context) -> None:
    sicken(context, "cld-1")
    errors = why(context).errors
    assert all(isinstance(error, HailboxError) for error in errors)
    assert [error.code for error in errors] == codes(context)


def test_a_wrong_clock_is_told_once(fake: FakeEngine, context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    context.watch.skew = {"tabled-1": 3600.0}  # type: ignore[attr-defined]
    assert codes(context) == ["clock-skew"]
    monkeypatch.setattr(fake, "clock", lambda: time.time() + 3600)
    assert [finding.code for finding in doctor(context).report.findings] == ["clock-skew"]


def test_what_keeps_doctor_from_looking_at_the_stack_is_a_finding(
    fake: FakeEngine, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(container_id: str, directory: str) -> dict[str, bytes]:
        raise DiskFullError("the engine's disk is full", "free some space")

    monkeypatch.setattr(fake, "read_files", refuse)
    report = doctor(context).report
    assert [finding.code for finding in report.findings] == ["disk-full"]
    assert [check.name for check in report.checks if not check.ok] == ["stack"]
    assert report.checks[-1].name == "leftovers"


def test_data_that_another_process_has(fake: FakeEngine, context: Context) -> None:
    sicken(context, "chunkd-1")
    found = container(fake, "chunkd-1")
    for state in (ContainerState.RUNNING, ContainerState.EXITED):
        alter(fake, "chunkd-1", state=state)
        ended(fake, "chunkd-1", status=evidence.DATA_IN_USE, restarts=7)
        (finding,) = why(context).report.findings
        assert finding.code == "data-in-use"
        assert finding.remedy == "end a process that the engine has lost track of: hailbox --stack test up"
    fake.all_containers["other"] = dataclasses.replace(
        found, id="other", name="theirs", labels={}, state=ContainerState.RUNNING
    )
    (finding,) = why(context).report.findings
    assert (
        finding.remedy
        == "stop what has it: docker stop theirs; then run: hailbox --stack test up; no data is lost by that"
    )
