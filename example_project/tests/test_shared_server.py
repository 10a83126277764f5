"""A server of a session fixture, in pytest itself: every test has a network of its own, and reaches
it all the same.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from pytest_isolate import isolate

from pantry.client import Client
from pantry.server import Server, serving
from pantry.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for all tests, on a port that was free."""
    with closing(Store(tmp_path_factory.mktemp("shared"))) as store, serving(store) as server:
        yield server


@isolate
def test_is_reached_at_its_own_address(server: Server) -> None:
    """As if the test ran beside it."""
    with closing(Client("127.0.0.1", server.port)) as client:
        client.put("key", "value")
        assert client.get("key") == "value"


@isolate
def test_has_what_another_test_has_put(server: Server) -> None:
    """What tests share is shared: only what they have of their own is theirs alone."""
    with closing(Client("127.0.0.1", server.port)) as client:
        client.put("another", "value")
        assert "another" in client.keys()  # noqa: SIM118 - it is no dict
