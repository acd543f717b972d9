"""One PostgreSQL server for all contract tests that need one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.postgres import PostgresServer, running


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A running server; a test that asks for it is marked `needs("postgres")`."""
    with running() as server:
        yield server
