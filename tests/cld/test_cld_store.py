"""Batches of any size are on disk as they were given: rows put, replaced, deleted, some dozens in one statement."""

from pathlib import Path

import pytest

from haild.cld.changes import Changes, Table
from haild.cld.store import Store
from haild.daemon.errors import StartError

SIZES = [0, 1, 3, 4, 15, 16, 63, 64, 65, 200]


def sid(number: int) -> bytes:
    return number.to_bytes(8, "big")


@pytest.mark.parametrize("count", SIZES)
def test_batches_of_any_size(tmp_path: Path, count: int) -> None:
    store = Store(tmp_path)
    batch = Changes()
    for number in range(1, count + 1):
        batch.put(Table.LOCKS, (number,), (50 + number, sid(number), 2, False, True, number))
        batch.put(Table.HANDLES, (sid(number), 2), (50 + number, 4, 0))
        batch.put(Table.CONTENTS, (50 + number,), (b"x" * number,))
    store.commit(batch)
    assert [lock.number for lock in store.load().locks] == list(range(1, count + 1))
    again = Changes()
    for number in range(1, count + 1):
        if number % 3:
            again.put(Table.LOCKS, (number,), (50 + number, sid(number), 2, True, False, 7))
        else:
            again.delete(Table.LOCKS, (number,))
            again.delete(Table.HANDLES, (sid(number), 2))
    store.commit(again)
    store.close()
    store = Store(tmp_path)
    kept = [number for number in range(1, count + 1) if number % 3]
    loaded = store.load()
    assert [(lock.number, lock.shared, lock.held, lock.since) for lock in loaded.locks] == [
        (number, True, False, 7) for number in kept
    ]
    assert [handle.sid for handle in loaded.handles] == [sid(number) for number in kept]
    assert [store.content(50 + number) for number in kept] == [b"x" * number for number in kept]
    store.close()


def test_a_second_process_is_kept_out(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(StartError, match="in use by another cld"):
        Store(tmp_path)
    store.close()
    Store(tmp_path).close()
