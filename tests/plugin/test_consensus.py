"""A consensus library of PyPI (pysyncobj: Raft), three nodes in one test, under a partition."""

from __future__ import annotations

import importlib.util
import os

import pytest

pytestmark = [pytest.mark.kernel, pytest.mark.needs("veth", "bridge", "rules")]

RAFT = """
import time
import pytest
from pysyncobj import SyncObj, SyncObjConf, SyncObjException, replicated
from pytest_isolate import Network, isolate

NAMES = ("a", "b", "c")

class Counter(SyncObj):
    def __init__(self, me):
        partners = [f"{each}:7000" for each in NAMES if each != me]
        super().__init__(f"{me}:7000", partners, SyncObjConf(connectionTimeout=1.0, raftMinTimeout=0.4, raftMaxTimeout=1.0))
        self.total = 0

    @replicated
    def add(self, number):
        self.total += number
        return self.total

def until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)

@isolate(net=Network(*NAMES, ip=4), timeout="100s")
def test_it(isolate_network):
    nodes = {name: isolate_network[name].call(Counter, name) for name in NAMES}  # its thread and sockets are the host's
    until(lambda: all(each._getLeader() is not None for each in nodes.values()))
    first = next(name for name in NAMES if nodes[name]._isLeader())
    assert nodes[first].add(1, sync=True, timeout=60) == 1
    isolate_network.partition(first)
    others = [name for name in NAMES if name != first]
    until(lambda: any(nodes[name]._isLeader() for name in others))
    second = next(name for name in others if nodes[name]._isLeader())
    assert nodes[second].add(10, sync=True, timeout=60) == 11
    with pytest.raises(SyncObjException): nodes[first].add(100, sync=True, timeout=1)
    assert nodes[first].total == 1
    isolate_network.heal()
    until(lambda: all(each.total == 11 for each in nodes.values()))
"""


def test_a_leader_that_is_cut_off_commits_nothing_and_is_replaced(pytester, isolated):
    """The majority elects another and goes on; healed, all agree.

    It also replaces ``socket.inet_ntop``, which is no matter of ours.
    """
    if importlib.util.find_spec("pysyncobj") is None:
        if os.environ.get("PYTEST_ISOLATE_MUST_WORK"):
            pytest.fail("pysyncobj is not installed")
        pytest.skip("pysyncobj is not installed: pip install pysyncobj")
    pytester.makepyfile(RAFT)
    isolated().assert_outcomes(passed=1)


def test_what_a_library_puts_in_the_place_of_pythons_functions_is_no_matter_of_ours(
    pytester, isolated
):
    """As pysyncobj does to inet_ntop, pytest-socket to the class and gevent to both."""
    pytester.makepyfile("""
        import socket
        import pytest
        from pytest_isolate import Network, isolate

        class Broken(socket.socket):
            def __init__(self, *args, **kwargs): raise TypeError("replaced")

        def broken(*args): raise TypeError("replaced")

        socket.inet_ntop, socket.socket, socket.socketpair, socket.sethostname = broken, Broken, broken, broken

        @isolate
        def test_plain(): pass

        @isolate(net=Network("a", "b", capture=True))
        def test_hosts(isolate_network):
            isolate_network.partition("a")
            isolate_network.heal()
            assert isolate_network["a"].run(["hostname"], capture_output=True, text=True).stdout == "a\\n"
            assert isolate_network.link("a").counters("a")
    """)
    isolated().assert_outcomes(passed=2)
