"""Hosts, links and what happens on them: the kernel does what was asked."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import threading
import time

import pytest
from networking import within

from pytest_isolate import Link, Network, NetworkUnavailable
from pytest_isolate._network import encoding, needs

pytestmark = [pytest.mark.kernel, pytest.mark.needs("veth")]
lan = pytest.mark.needs("bridge")
netem = pytest.mark.needs("netem")
SHORT = 0.3  # seconds in which what is to be silent stays silent
LONG = 20.0
PAIR = [("a", "b")]


@pytest.fixture(autouse=True, scope="session")
def _pyroute2() -> None:
    encoding.classes()


def reach(network, one, other, family=4, timeout=LONG, port=80):
    """Connect, and give the address that the server saw."""
    to = next(each for each in network[other].addresses if (":" in each) == (family == 6))
    with network[other]:
        server = socket.create_server(
            ("::" if family == 6 else "", port),
            family=socket.AF_INET6 if family == 6 else socket.AF_INET,
        )
    with server:
        with network[one]:
            client = socket.create_connection((to, port), timeout=timeout)
        with client:
            accepted, who = server.accept()
            accepted.close()
            return who[0]


def is_silent(network, one, other, family=4):
    try:
        reach(network, one, other, family, SHORT)
    except TimeoutError:
        return True
    return False


def datagrams(network, one, other):
    """A socket of ``one`` that is connected to one of ``other``."""
    with network[other]:
        receiver = socket.socket(type=socket.SOCK_DGRAM)
        receiver.bind((network[other].address, 9))
    with network[one]:
        sender = socket.socket(type=socket.SOCK_DGRAM)
        sender.connect((network[other].address, 9))
    receiver.settimeout(SHORT)
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    return sender, receiver


def received(receiver):
    found = []
    try:
        while True:
            found.append(receiver.recv(2000))
    except TimeoutError:
        return found


@lan
def test_three_hosts_on_a_bridge_reach_each_other_in_both_families():
    def body(network):
        for one, other in (("a", "b"), ("b", "c"), ("c", "a")):
            for family in (4, 6):
                assert reach(network, one, other, family) in network[one].addresses

    within(Network("a", "b", "c"), body)


def test_a_direct_link_and_only_ipv6():
    def body(network):
        assert network["a"].addresses == ["fd00::1"]
        assert reach(network, "a", "b", 6) == "fd00::1"

    within(Network("a", "b", links=PAIR, ip=6), body)


def test_each_host_has_a_name_ports_and_loopback_of_its_own():
    def body(network):
        before = socket.gethostname()
        servers = []
        for name in ("a", "b"):
            with network[name]:
                # Also without root: every port is everybody's
                servers.append(socket.create_server(("127.0.0.1", 80)))
            assert (
                network[name].run(["hostname"], capture_output=True, text=True).stdout
                == f"{name}\n"
            )
        assert socket.gethostname() == before
        assert os.listdir("/sys/class/net")  # the test's own
        with pytest.raises(OSError) as caught:  # noqa: PT011 - by its number
            socket.create_connection(("127.0.0.1", 80), timeout=LONG)
        # The loopback outside of a sandbox is down
        assert caught.value.errno in {errno.ECONNREFUSED, errno.ENETUNREACH}

    within(Network("a", "b", links=PAIR), body)


def test_going_in_and_out_nests_and_comes_back_after_an_exception():
    def body(network):
        def here():
            return os.stat("/proc/thread-self/ns/net").st_ino

        outside = here()
        with network["a"]:
            a = here()
            with network["b"]:
                assert here() not in {a, outside}
                with pytest.raises(ZeroDivisionError):
                    network["a"].call(lambda: 1 / 0)
                assert here() not in {a, outside}
            assert here() == a
        assert here() == outside
        assert network["a"].call(here) == a

    within(Network("a", "b", links=PAIR), body)


def test_a_thread_moves_alone():
    def body(network):
        entered, leave = threading.Event(), threading.Event()

        def stay():
            with network["a"]:
                entered.set()
                leave.wait(LONG)

        thread = threading.Thread(target=stay)
        outside = os.stat("/proc/thread-self/ns/net").st_ino
        thread.start()
        assert entered.wait(LONG)
        assert os.stat("/proc/thread-self/ns/net").st_ino == outside
        assert os.stat(f"/proc/self/task/{thread.native_id}/ns/net").st_ino != outside
        leave.set()
        thread.join()

    within(Network("a", "b", links=PAIR), body)


def test_a_process_of_a_host_serves_another():
    def body(network):
        code = (
            "import socket; s = socket.create_server(('', 80)); print('ready', flush=True);"
            " s.accept()[0].sendall(b'hello')"
        )
        with network["b"].popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
        ) as server:
            assert server.stdout.readline() == "ready\n"
            code = (
                f"import socket; print(socket.create_connection(({network['b'].address!r},"
                " 80)).recv(9))"
            )
            done = network["a"].run(
                [sys.executable, "-c", code], capture_output=True, text=True, check=True
            )
            assert done.stdout == "b'hello'\n"

    within(Network("a", "b", links=PAIR), body)


CHAIN = {"routers": ["r", "s"], "links": [("a", "r"), ("r", "s"), ("s", "b")]}


def test_routers_pass_on_in_both_families():
    def body(network):
        for family in (4, 6):
            assert reach(network, "a", "b", family) in network["a"].addresses
            assert reach(network, "b", "a", family) in network["b"].addresses

    within(Network("a", "b", **CHAIN), body)


def test_hosts_pass_nothing_on():
    def body(network):
        with pytest.raises(OSError, match="unreachable"):
            reach(network, "a", "c", timeout=SHORT)

    within(Network("a", "b", "c", links=[("a", "b"), ("b", "c")]), body)


@pytest.mark.needs("nat")
def test_a_nat_hides_who_is_behind_it():
    def body(network):
        for family in (4, 6):
            assert reach(network, "a", "b", family) in network["r"].addresses
            with pytest.raises(OSError, match="unreachable"):
                reach(network, "b", "a", family, SHORT)

    within(Network("a", "b", routers=["r"], links=[("a", "r"), Link("r", "b", nat="r")]), body)


def test_a_partition_is_silent_on_both_sides_and_heals():
    """Across a router too; a connection that stood goes on."""

    def body(network):
        with network["b"]:
            server = socket.create_server(("", 81))
        with network["a"]:
            client = socket.create_connection((network["b"].address, 81), timeout=LONG)
        accepted, _ = server.accept()
        network.partition(["a"], ["b"])
        for family in (4, 6):
            assert is_silent(network, "a", "b", family)
            assert is_silent(network, "b", "a", family)
        client.sendall(b"waits")
        accepted.settimeout(SHORT)
        with pytest.raises(TimeoutError):
            accepted.recv(9)
        network.heal()
        accepted.settimeout(LONG)
        assert accepted.recv(9) == b"waits"
        for family in (4, 6):
            assert reach(network, "a", "b", family)

    within(Network("a", "b", **CHAIN), body)


@lan
def test_who_is_not_named_in_a_partition_is_one_more_group():
    def body(network):
        network.partition("a", ["b", "c"])
        assert reach(network, "b", "c")
        assert reach(network, "d", "e")
        assert is_silent(network, "a", "d")
        assert is_silent(network, "d", "b")
        network.partition("b")  # in its place
        assert reach(network, "a", "d")
        assert is_silent(network, "b", "c")

    within(Network("a", "b", "c", "d", "e"), body)


def test_words_for_nobody():
    def body(network):
        for call, sentence in (
            (lambda: network.host("x"), "there is no host 'x' in this network; there are a, b"),
            (
                lambda: network.link("a", "x"),
                "there are no links between 'a' and 'x'; there are a to b",
            ),
            (
                lambda: network.partition("x"),
                "there is no host 'x' in this network; there are a, b",
            ),
            (network.partition, "partition: it must name a host: partition(['a'], ['b', 'c'])"),
            (lambda: network.partition(["a"], ["a", "b"]), "partition: 'a' is in two groups"),
            (
                lambda: network.link("a").set(sender="x"),
                "'x' is no end of the link from 'a' to 'b'",
            ),
            (lambda: network.link("a").set(rate=1), "rate=1: it must be from 1kbit to 30gbit"),
        ):
            with pytest.raises(ValueError) as caught:  # noqa: PT011 - compared below
                call()
            assert sentence in str(caught.value)
        with pytest.raises(KeyError, match="there is no host 'x' in this network; there are a, b"):
            network["x"]

    within(Network("a", "b", links=PAIR), body)


def test_a_direct_link_that_is_down_is_unreachable_and_comes_back_with_its_routes():
    def body(network):
        link = network.link("r", "s")
        link.down()
        with pytest.raises(OSError) as caught:  # noqa: PT011 - by its number
            reach(network, "r", "s", timeout=SHORT)
        assert caught.value.errno in {errno.ENETUNREACH, errno.EHOSTUNREACH}
        network.heal()
        for family in (4, 6):
            assert reach(network, "a", "b", family)

    within(Network("a", "b", **CHAIN), body)


@lan
def test_a_host_whose_plug_is_pulled_keeps_its_address_and_hears_nothing():
    def body(network):
        network.link("a").down()
        assert (
            network["a"]
            .run(["ip", "-4", "-o", "addr", "show", "eth0"], capture_output=True, text=True)
            .stdout.count("10.0.0.1")
        )
        assert is_silent(network, "b", "a")
        assert reach(network, "b", "c")
        network.link("a").up()
        assert reach(network, "b", "a")

    within(Network("a", "b", "c", ip=4), body)


def test_mtu():
    def body(network):
        sender, receiver = datagrams(network, "a", "b")
        sender.setsockopt(socket.IPPROTO_IP, 10, 2)  # IP_MTU_DISCOVER, IP_PMTUDISC_DO: no fragments
        receiver.settimeout(LONG)
        sender.send(bytes(576 - 28))
        assert len(receiver.recv(2000)) == 576 - 28
        with pytest.raises(OSError) as caught:  # noqa: PT011 - by its number
            sender.send(bytes(577 - 28))
        assert caught.value.errno == errno.EMSGSIZE
        network.link("a", "b").set(mtu=1000)
        with network["a"]:
            fresh = socket.socket(type=socket.SOCK_DGRAM)
        fresh.connect((network["b"].address, 9))
        fresh.send(bytes(1000 - 28))
        assert len(receiver.recv(2000)) == 1000 - 28

    within(Network("a", "b", links=PAIR, ip=4, mtu=576), body)


@pytest.mark.needs("tbf")
def test_a_rate_is_not_exceeded_and_can_be_changed():
    """Bounds from below alone: a busy machine is slower, never faster."""
    size = 500_000

    def seconds(network):
        with network["b"]:
            server = socket.create_server(("", 82))
        with network["a"]:
            client = socket.create_connection((network["b"].address, 82))
        accepted, _ = server.accept()
        began = time.monotonic()
        threading.Thread(target=lambda: (client.sendall(bytes(size)), client.close())).start()
        while accepted.recv(1 << 16):
            pass
        server.close()
        return time.monotonic() - began

    def body(network):
        assert seconds(network) > 0.7 * size * 8 / 4e6
        network.link("a", "b").set(rate="16mbit")
        assert seconds(network) > 0.7 * size * 8 / 16e6
        network.link("a", "b").set(rate=None)
        assert network.link("a", "b").conditions("a").rate is None
        assert (
            "noqueue"
            in network["a"]
            .run(["tc", "qdisc", "show", "dev", "eth0"], capture_output=True, text=True)
            .stdout
        )

    within(Network("a", "b", links=PAIR, rate="4mbit"), body)


def test_counters_of_each_end():
    def body(network):
        sender, receiver = datagrams(network, "a", "b")
        receiver.settimeout(LONG)
        sender.send(b"x")  # asks who has the address, first
        receiver.recv(9)
        link = network.link("a", "b")
        before, others = link.counters("a"), link.counters("b")
        for _ in range(10):
            sender.send(bytes(100))
        after = link.counters("a")
        assert after.packets - before.packets == 10
        assert after.bytes - before.bytes == 10 * (100 + 28 + 14)
        assert link.counters("b") == others
        with pytest.raises(ValueError, match="'c' is no end of the link from 'a' to 'b'"):
            link.counters("c")

    within(Network("a", "b", links=PAIR, ip=4), body)


def test_a_scheduler_that_the_kernel_lacks_is_named_with_what_helps(host):
    if needs.Kernel((host.uid, host.gid) if host.rootless else None).errno("netem") == 0:
        pytest.skip("this kernel has netem")

    def body(network):
        with pytest.raises(
            NetworkUnavailable,
            match=r"no network emulator \(netem\).*remedy: sudo modprobe sch_netem",
        ):
            network.set(delay="10ms")
        assert network.link("a").conditions("a").delay == 0
        assert reach(network, "a", "b")

    within(Network("a", "b", links=PAIR), body)


# What only the emulator can do
# ----------------------------------------------------------------------------------------


def round_trip(network):
    sender, receiver = datagrams(network, "a", "b")
    receiver.settimeout(LONG)
    sender.settimeout(LONG)
    began = time.monotonic()
    sender.send(b"there")
    _, who = receiver.recvfrom(9)
    receiver.sendto(b"back", who)
    sender.recv(9)
    sender.close()
    receiver.close()
    return time.monotonic() - began


@netem
def test_a_delay_is_met_in_both_directions_or_in_one_and_changes_while_the_test_runs():
    def body(network):
        assert round_trip(network) >= 0.4
        network.link("a", "b").set(delay="300ms", sender="b")
        assert round_trip(network) >= 0.5
        assert network.link("a", "b").conditions("a").delay == 0.2
        network.set(delay=None)
        assert min(round_trip(network) for _ in range(20)) < 0.2
        network.reset()
        assert round_trip(network) >= 0.4

    within(Network("a", "b", links=PAIR, delay="200ms", ip=4), body)


@netem
@pytest.mark.parametrize(("loss", "least", "most"), [(1, 0, 0), (0.5, 50, 150)])
def test_loss(loss, least, most):
    def body(network):
        sender, receiver = datagrams(network, "a", "b")
        sender.send(b"x")
        receiver.settimeout(LONG)
        receiver.recv(9)
        receiver.settimeout(SHORT)
        network.link("a", "b").set(loss=loss, sender="a")
        for _ in range(200):
            sender.send(b"x")
        assert least <= len(received(receiver)) <= most

    within(Network("a", "b", links=PAIR, ip=4), body)


@netem
def test_duplication():
    def body(network):
        sender, receiver = datagrams(network, "a", "b")
        network.link("a", "b").set(duplicate=1, sender="a")
        for _ in range(10):
            sender.send(b"x")
        assert len(received(receiver)) == 20

    within(Network("a", "b", links=PAIR, ip=4), body)


@netem
def test_reordering_loses_nothing():
    def body(network):
        sender, receiver = datagrams(network, "a", "b")
        network.link("a", "b").set(delay="100ms", reorder="50%", sender="a")
        for number in range(100):
            sender.send(b"%d" % number)
        found = [int(each) for each in received(receiver)]
        assert sorted(found) == list(range(100))
        assert found != sorted(found)

    within(Network("a", "b", links=PAIR, ip=4), body)


@netem
def test_what_is_corrupt_is_dropped_by_who_has_a_checksum():
    def body(network):
        sender, receiver = datagrams(network, "a", "b")
        sender.send(b"x")
        receiver.settimeout(LONG)
        receiver.recv(9)
        receiver.settimeout(SHORT)
        network.link("a", "b").set(corrupt=1, sender="a")
        for _ in range(100):
            sender.send(bytes(1000))
        assert len(received(receiver)) < 50

    within(Network("a", "b", links=PAIR, ip=4), body)


@netem
def test_a_rate_and_a_delay_at_once():
    def body(network):
        text = (
            network["a"]
            .run(["tc", "qdisc", "show", "dev", "eth0"], capture_output=True, text=True)
            .stdout
        )
        assert "netem" in text
        assert "delay 20ms" in text.replace("20.0ms", "20ms")
        assert "rate 1Mbit" in text

    within(Network("a", "b", links=PAIR, rate="1mbit", delay="20ms"), body)
