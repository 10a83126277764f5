"""The server, each time on the very same port: every test has a network of its own."""

from __future__ import annotations

import socket
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from pytest_isolate import isolate

from pantry.client import Client, RefusedError
from pantry.server import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pantry.store import Store

PORT = 8080
LOOPBACK = ("127.0.0.1", "::1")


@pytest.fixture(scope="session")
def taken_port() -> Iterator[int]:
    """A port that a process of this machine, pytest itself, listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@isolate(net=True)
def test_answers_on_ipv4_and_ipv6(store: Store) -> None:
    """What is put over one protocol is there over the other."""
    with serving(store, LOOPBACK[0], PORT), serving(store, LOOPBACK[1], PORT):
        with closing(Client(LOOPBACK[0], PORT)) as client:
            client.put("key", "value")
        with closing(Client(LOOPBACK[1], PORT)) as client:
            assert client.get("key") == "value"


@isolate(net=True)
def test_forgets_on_ipv4_and_ipv6(store: Store) -> None:
    """What is removed over one protocol is gone over the other.

    Binds what the test above has bound.
    """
    store.put("key", "value")
    with serving(store, LOOPBACK[0], PORT), serving(store, LOOPBACK[1], PORT):
        with closing(Client(LOOPBACK[1], PORT)) as client:
            client.remove("key")
        with closing(Client(LOOPBACK[0], PORT)) as client:
            assert client.keys() == []


@isolate(net=True)
def test_may_listen_where_the_machine_does(taken_port: int, store: Store) -> None:
    """A port that is taken outside is free inside."""
    with serving(store, port=taken_port), closing(Client("127.0.0.1", taken_port)) as client:
        assert client.keys() == []


@isolate
@pytest.mark.parametrize("line", ["{}", "[1]", "nonsense", '{"do": "dance"}', '{"do": "get"}'])
def test_explains_what_it_does_not_understand(store: Store, line: str) -> None:
    """A bad request gets an error for an answer, and the connection stays usable."""
    with serving(store, port=PORT), socket.create_connection(("127.0.0.1", PORT)) as connection:
        connection.sendall(line.encode() + b'\n{"do": "keys"}\n')
        with connection.makefile("rb") as answers:
            assert answers.readline().startswith(b'{"error": "not a request: ')
            assert answers.readline() == b'{"keys": []}\n'


@isolate
def test_refuses_a_value_that_is_not_text(store: Store) -> None:
    """The client raises what the server says."""
    with (
        serving(store, port=PORT),
        closing(Client("127.0.0.1", PORT)) as client,
        pytest.raises(RefusedError, match="KEY and VALUE are text"),
    ):
        client.put("key", 1)  # type: ignore[arg-type]


@isolate(files=64)
def test_closes_what_its_clients_close(store: Store) -> None:
    """A hundred clients, one after the other, never need more than 64 descriptors, for both ends
    together.
    """
    with serving(store, port=PORT):
        for number in range(100):
            with closing(Client("127.0.0.1", PORT)) as client:
                client.put("visitor", str(number))
    assert store.get("visitor") == "99"


@isolate(timeout="5s")
def test_does_not_wait_for_ever(store: Store) -> None:
    """A client that waits for a key gives up at its own deadline, well before the test's."""
    with serving(store, port=PORT), closing(Client("127.0.0.1", PORT)) as client:
        with pytest.raises(TimeoutError, match="nobody set 'key'"):
            client.wait_for("key", seconds=0.1)
        store.put("key", "value")
        assert client.wait_for("key", seconds=0.1) == "value"
