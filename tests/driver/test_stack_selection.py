"""Which replicas a word means, and what is said where it means none or too many."""

import pytest

from hailbox.model.errors import UnknownServiceError
from hailbox.stack.definitions import load_catalog
from hailbox.stack.selection import chosen, of_profile, one

KNOWN = of_profile(load_catalog().profile("s3").scaled({"chunkd": 2}))


def test_by_service_or_replica_each_once() -> None:
    assert chosen("a", KNOWN, ["chunkd"]) == ["chunkd-1", "chunkd-2"]
    assert chosen("a", KNOWN, ["chunkd-2"]) == ["chunkd-2"]
    assert chosen("a", KNOWN, ["chunkd-2", "chunkd"]) == ["chunkd-2", "chunkd-1"]
    assert chosen("a", KNOWN, []) == list(KNOWN)


def test_what_is_not_there_is_told_with_what_is() -> None:
    with pytest.raises(UnknownServiceError, match="stack a has no service or replica 'chunkd-3'") as caught:
        chosen("a", KNOWN, ["chunkd-1", "chunkd-3"])
    assert "chunkd-2" in caught.value.remedy
    with pytest.raises(UnknownServiceError, match="'x'") as caught:
        one("a", {}, "x")
    assert caught.value.remedy == "run: hailbox --stack a up"


def test_one_replica() -> None:
    assert one("a", KNOWN, "cld") == "cld-1"
    with pytest.raises(UnknownServiceError, match="several replicas") as caught:
        one("a", KNOWN, "chunkd")
    assert caught.value.remedy == "choose one of: chunkd-1, chunkd-2"
