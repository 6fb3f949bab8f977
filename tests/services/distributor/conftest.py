"""Fixtures of the tests that run a distributor without a network."""

import pytest

from services.distributor.fakes import FakeAnalyzers, Times


@pytest.fixture
def analyzers():
    return FakeAnalyzers()


@pytest.fixture
def times():
    return Times()
