"""Clients and buckets of the tests of tabled; the stack is each module's own, and lasts as long."""

from typing import Any

import pytest

from support.tabledstack import Stack, bucket_of


@pytest.fixture(scope="module")
def s3(stack: Stack) -> Any:
    """The first user's client."""
    return stack.client()


@pytest.fixture(scope="module")
def bob(stack: Stack) -> Any:
    """The second user's."""
    return stack.client("bob")


@pytest.fixture
def bucket(s3: Any, request: pytest.FixtureRequest) -> str:
    """A new bucket of the first user's, for one test."""
    return bucket_of(s3, request)
