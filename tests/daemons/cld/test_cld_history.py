"""Never two holders: random histories with kills, restarts, partitions and stopped processes; see cld_simulation.

CLD_HISTORIES in the environment: how many (the figure in docs/daemons/cld.md was taken with 1000).
"""

import os

import pytest

from haild.client.cld import machine as cld_machine
from support.cld_simulation import Client, Simulation
from support.holders import History, Span, TwoHoldersError

HISTORIES = int(os.environ.get("CLD_HISTORIES", "24"))


@pytest.mark.parametrize("part", range(4))
def test_never_two_holders(part: int) -> None:
    for seed in range(part, HISTORIES, 4):
        simulation = Simulation(seed)
        try:
            taken = simulation.history(faults=12)
            simulation.record.check()
        except TwoHoldersError as error:
            raise AssertionError(f"history {seed}: {error}") from error
        assert taken > 0, f"history {seed}: no client gets the lock in peace"


def many_histories() -> None:
    for seed in range(200):
        Simulation(seed).history(faults=12)


def test_checker_finds_a_client_that_does_not_fence(monkeypatch: pytest.MonkeyPatch) -> None:
    """The checker has teeth: without the client's part of the rule it sees two holders."""
    monkeypatch.setattr(cld_machine, "FENCE", 3.0)
    with pytest.raises(TwoHoldersError):
        many_histories()


def test_checker_finds_a_server_that_takes_silence_for_death(monkeypatch: pytest.MonkeyPatch) -> None:
    """And without the server's."""
    monkeypatch.setattr(
        "haild.cld.session.Session.expires_at", lambda session: session.last_contact + 0.5 * session.lease
    )
    with pytest.raises(TwoHoldersError):
        many_histories()


def test_a_run_without_faults_shares_the_lock() -> None:
    simulation = Simulation(1, loss=0.0)
    simulation.run(60)
    assert all(client.times_held > 2 for client in simulation.clients)
    assert isinstance(simulation.clients[0], Client)


def test_checker_reads_spans() -> None:
    history = History()
    for moment, holders in ((1.0, ["a"]), (2.0, ["a"]), (3.0, []), (4.0, ["b"]), (5.0, ["b"])):
        history.observe(moment, holders)
    assert list(history) == [Span(1.0, 2.0, "a"), Span(4.0, 5.0, "b")]
    assert history.check() == 2
    history.add(Span(3.0, 3.9, "c"))
    assert history.check() == 3
    history.add(Span(1.5, 1.6, "d"))
    with pytest.raises(TwoHoldersError, match="a believed"):
        history.check()
    with pytest.raises(TwoHoldersError):
        history.observe(6.0, ["a", "b"])
