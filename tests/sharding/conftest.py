"""One PostgreSQL server for all tests of this folder."""

import itertools

import pytest


@pytest.fixture(scope="session")
def postgres_server():
    from postgres_server import PostgreSQLServer

    with PostgreSQLServer() as server:
        yield server


@pytest.fixture(scope="session")
def table_names():
    return (f"shard_{number}" for number in itertools.count())
