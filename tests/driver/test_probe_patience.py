"""How much longer an overloaded host takes is measured, and attempts get as much longer."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hailbox.probe import patience
from hailbox.probe.watch import Target, watch
from support.iwhd_daemon import Iwhd, fs, running

MEASURE = """
import os, sys
from hailbox.probe import patience
os.nice(int(sys.argv[1]))
print(sorted(patience.strain() for _ in range(5))[2])
"""


def strain(nice: int) -> float:
    done = subprocess.run([sys.executable, "-c", MEASURE, str(nice)], capture_output=True, text=True, check=True)
    return float(done.stdout)


@pytest.fixture
def busy() -> Iterator[None]:
    """All processors have something to do that comes before what is nice."""
    code = "import os\nos.write(1, b'.')\nwhile True: pass"
    programs = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        for _ in range(2 * (os.cpu_count() or 1))
    ]
    for program in programs:
        assert program.stdout is not None
        assert program.stdout.read(1) == b"."  # it runs
    yield
    for program in programs:
        program.kill()
        program.communicate()


@pytest.mark.usefixtures("busy")
def test_work_that_hardly_gets_a_processor_shows() -> None:
    assert strain(19) > 1.5  # how much more depends on how long the kernel lets either run at a time


def test_it_is_never_less_than_one_nor_more_than_the_limit() -> None:
    assert 1 <= strain(0) <= patience.LIMIT


@pytest.mark.parametrize(("factor", "working"), [(1.0, False), (3.0, True)])
def test_an_attempt_gets_as_much_longer(tmp_path: Path, factor: float, working: bool) -> None:
    """The warehouse is stopped for three seconds."""
    with running(Iwhd(tmp_path, [fs(tmp_path / "objects")])) as daemon:
        daemon.process.send_signal(signal.SIGSTOP)
        on = threading.Timer(3, lambda: daemon.process.send_signal(signal.SIGCONT))
        on.start()
        target = Target("iwhd-1", "iwhd", daemon.port)
        with patience.granted(factor):
            outcome = watch([target], {}, deadline=0, on_change=lambda outcome: None)["iwhd-1"]
        on.join()
    assert outcome.working == working
    assert ("no answer within 2 s" in outcome.reason) == (not working)
