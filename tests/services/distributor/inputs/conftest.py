"""Fixtures of the tests of inputs."""

import pytest

from services.distributor.inputs.input_service import serving


@pytest.fixture
async def service():
    """The inputs over HTTP with the defaults."""
    async with serving() as service:
        yield service
