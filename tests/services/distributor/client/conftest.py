"""Fixtures of the tests of the client and of the handler for logging."""

import pytest

from services.distributor.client.scripted import scripted


@pytest.fixture
def served():
    with scripted() as served:
        yield served


@pytest.fixture(params=["memory", "spool"])
def outbox(request, tmp_path):
    """The setting of an outbox in memory, and of one in a folder."""
    return {} if request.param == "memory" else {"spool": tmp_path / "spool"}
