"""What one of several tests in the same groups used, and what network namespaces count."""

from __future__ import annotations

import os

from pytest_isolate._linux.counters import Counters
from pytest_isolate._linux.proc_net import NetworkCounters


def test_counts_are_differences_and_peaks_are_known_only_when_exceeded():
    """Denials and processor time add up; the peak of an earlier test is not the peak of a later
    one.
    """
    before = Counters(memory_peak=70, oom_kills=0, pids_peak=3, pids_denied=1, cpu_seconds=0.5)
    now = Counters(memory_peak=70, oom_kills=1, pids_peak=4, pids_denied=3, cpu_seconds=0.75)
    assert now.since(before) == Counters(
        memory_peak=None, oom_kills=1, pids_peak=4, pids_denied=2, cpu_seconds=0.25
    )


def test_the_first_test_has_everything_that_was_counted():
    """Since nothing, a reading is itself; what this kernel does not count stays unknown."""
    now = Counters(memory_peak=70, oom_kills=0, pids_peak=3, pids_denied=0, cpu_seconds=0.5)
    assert now.since(Counters()) == now
    assert Counters().since(Counters()) == Counters()


SNMP = (
    "Ip: Forwarding DefaultTTL OutNoRoutes\nIp: 1 64 {}\nTcp: RtoAlgorithm AttemptFails\nTcp: 1"
    " {}\nUdp: InDatagrams\nUdp: 7\n"
)
SNMP6 = (
    "Ip6InReceives                   \t12\nIp6OutNoRoutes                  \t{}\nIp6ReasmTimeout"
    " \t0\n"
)


def network_counters(tmp_path, *namespaces):
    """Of several namespaces, each (without route by IPv4, refused, without route by IPv6)."""
    descriptors = []
    for number, (routes, refused, routes6) in enumerate(namespaces):
        proc = tmp_path / str(number) / "net"
        proc.mkdir(parents=True)
        (proc / "snmp").write_text(SNMP.format(routes, refused))
        if routes6 is not None:
            (proc / "snmp6").write_text(SNMP6.format(routes6))
        descriptors += NetworkCounters.open(str(proc.parent)).descriptors
    return NetworkCounters(descriptors)


def test_a_sandbox_without_a_network_of_its_own_counts_nothing():
    """None is not 0: the machine's network is everybody's."""
    assert NetworkCounters().unroutable() is None
    assert NetworkCounters().refused() == 0


def test_what_several_network_namespaces_count_is_added(tmp_path):
    """Both protocols, and a kernel without IPv6."""
    found = network_counters(tmp_path, (1, 2, 3), (10, 20, None))
    assert (found.unroutable(), found.refused()) == (14, 22)
    for fd in found.descriptors:
        os.close(fd)


def test_this_kernels_own_counters_can_be_read():
    """Its form is that of the samples above."""
    found = NetworkCounters.open("/proc/self")
    assert isinstance(found.unroutable(), int)
    assert isinstance(found.refused(), int)
    for fd in found.descriptors:
        os.close(fd)
