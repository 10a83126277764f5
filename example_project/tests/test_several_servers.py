"""Three servers, each in a host of its own, and what is left of the store when the
network is bad.
"""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import pytest
from pytest_isolate import LiveNetwork, Network, isolate

from pantry.replicated import NoMajorityError, Replicated
from pantry.server import serving
from pantry.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PORT = 7000
SERVERS = ("a", "b", "c")
CLUSTER = Network(*SERVERS, ip=4)


@pytest.fixture
def cluster(isolate_network: LiveNetwork, tmp_path: Path) -> Iterator[LiveNetwork]:
    """A server in each host."""
    with ExitStack() as stack:
        for name in SERVERS:
            store = stack.enter_context(closing(Store(tmp_path / name)))
            host = isolate_network[name]
            with host:  # its socket, and the threads that serve, are the host's
                stack.enter_context(serving(store, host.address, PORT))
        yield isolate_network


@isolate(net=CLUSTER)
def test_has_on_every_host_what_one_has_put(cluster: LiveNetwork) -> None:
    """Names of hosts resolve everywhere."""
    with cluster["a"]:
        Replicated(SERVERS, PORT).put("key", "value")
    for name in SERVERS:
        assert cluster[name].call(Replicated(SERVERS, PORT).get, "key") == "value"


@isolate(net=CLUSTER)
def test_goes_on_where_the_majority_is(cluster: LiveNetwork) -> None:
    """Alone, a host neither reads nor writes; afterwards it has what the others did."""
    with cluster["a"]:
        Replicated(SERVERS, PORT).put("key", "old")
    cluster.partition(["a"], ["b", "c"])
    impatient = Replicated(SERVERS, PORT, timeout=0.3)
    with cluster["a"]:
        with pytest.raises(NoMajorityError, match="1 of 3 servers"):
            impatient.put("key", "lost")
        with pytest.raises(NoMajorityError):
            impatient.get("key")
    with cluster["b"]:
        impatient.put("key", "new")
    cluster.heal()
    assert cluster["a"].call(Replicated(SERVERS, PORT).get, "key") == "new"


@isolate(net=Network(*SERVERS, ip=4, delay="200ms"), on_missing="skip")
def test_is_slow_where_the_network_is(cluster: LiveNetwork) -> None:
    """With 200 ms on the way and back, a put asks and answers four times; who waits for half of
    that is told.
    """
    with cluster["a"]:
        started = time.monotonic()
        Replicated(SERVERS, PORT).put("key", "value")
        assert time.monotonic() - started >= 4 * 0.4
        with pytest.raises(NoMajorityError):
            Replicated(SERVERS, PORT, timeout=0.2).get("key")
    cluster.set(delay=None)
    assert cluster["a"].call(Replicated(SERVERS, PORT).get, "key") == "value"
