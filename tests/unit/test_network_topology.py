"""A ``Network`` as it is written: who has which address, route and condition, and one sentence for
what cannot be.
"""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_isolate import Link, Network
from pytest_isolate._config.conditions import Conditions, conditions
from pytest_isolate._network import needs


def addresses(network: Network) -> dict[str, list[str]]:
    topology = network.topology
    return {
        node: [str(each) for each in topology.addresses(node)]
        for node, kind in topology.kinds.items()
        if kind != "bridge"
    }


def test_hosts_alone_are_on_one_bridge_with_addresses_of_both_families():
    assert addresses(Network("a", "b")) == {
        "a": ["10.0.0.1/24", "fd00::1/64"],
        "b": ["10.0.0.2/24", "fd00::2/64"],
    }


@pytest.mark.parametrize(("ip", "count"), [(4, 1), (6, 1), ((4, 6), 2), ([6, 4], 2)])
def test_one_family_alone(ip, count):
    assert {len(each) for each in addresses(Network("a", "b", ip=ip)).values()} == {count}


def test_a_chosen_address_is_had_and_the_others_are_of_its_network():
    link = Link("a", "lan", addresses={"a": "192.0.2.7/28"})
    assert addresses(Network("a", "b", bridges=["lan"], links=[link, ("b", "lan")], ip=4)) == {
        "a": ["192.0.2.7/28"],
        "b": ["192.0.2.1/28"],
    }


def test_a_chosen_network_is_no_other_link_s():
    """Addresses that nobody chose keep out of its way."""
    network = Network(
        "a", "b", "c", links=[("b", "c"), Link("a", "b", addresses={"a": "10.0.0.9/16"})], ip=4
    )
    assert not ipaddress.ip_interface(addresses(network)["c"][0]).network.overlaps(
        ipaddress.ip_network("10.0.0.0/16")
    ), addresses(network)


@pytest.mark.parametrize(
    "network",
    [
        Network(
            "a",
            "b",
            "c",
            links=[("a", "b"), ("b", "c"), Link("a", "c", addresses={"a": "10.1.0.1/16"})],
        )
    ],
)
def test_bridges_that_are_linked_are_one_network(network):
    two = Network("a", "b", bridges=["x", "y"], links=[("a", "x"), ("b", "y"), ("x", "y")])
    assert addresses(two) == {
        "a": ["10.0.0.1/24", "fd00::1/64"],
        "b": ["10.0.0.2/24", "fd00::2/64"],
    }
    assert (
        len(
            {
                each.split(".")[2]
                for found in addresses(network).values()
                for each in found
                if ":" not in each
            }
        )
        > 1
    )


def routes(network: Network, node: str) -> dict[str, str]:
    return {str(each.to): str(each.via) for each in network.topology.routes[node]}


CHAIN = [("a", "r"), ("r", "s"), ("s", "b")]


def test_routes_lead_over_several_routers():
    network = Network("a", "b", routers=["r", "s"], links=CHAIN, ip=4)
    assert routes(network, "a") == {"10.0.1.0/24": "10.0.0.2", "10.0.2.0/24": "10.0.0.2"}
    assert routes(network, "r") == {"10.0.2.0/24": "10.0.1.2"}


def test_nobody_knows_a_way_to_who_is_behind_a_nat():
    network = Network(
        "a", "b", routers=["r", "s"], links=[("a", "r"), Link("r", "s", nat="r"), ("s", "b")], ip=4
    )
    assert routes(network, "a") == {"10.0.1.0/24": "10.0.0.2", "10.0.2.0/24": "10.0.0.2"}
    assert routes(network, "b") == {"10.0.1.0/24": "10.0.2.1"}


def test_conditions_of_a_link_come_before_those_of_the_network():
    network = Network(
        "a",
        "b",
        "c",
        bridges=["lan"],
        links=[Link("a", "lan", delay="2s", loss=0.1), ("b", "lan"), ("c", "lan")],
        delay="1s",
    )
    found = {end.node: end.conditions for pair in network.topology.links for end in pair}
    assert found["a"] == Conditions(delay=2.0, loss=0.1)
    assert found["b"] == Conditions(delay=1.0)


LAN = {"bridges": ["lan"]}
IMPOSSIBLE = [
    (Network(), "it must have a host: Network('a', 'b')"),
    (
        Network("a b"),
        "'a b' cannot be the name of a host: it must be 1 to 63 letters, digits, hyphens and dots",
    ),
    (Network("localhost"), "'localhost' cannot be the name of a host: it is every host's own"),
    (Network("a", "a"), "'a' is there twice"),
    (Network("a", routers=["a"]), "there are a host and a router with the name 'a'"),
    (Network("a", bridges="lan"), "bridges='lan': it must be a list of names"),
    (Network("a", ip=5), "ip=5: it must be 4, 6 or both, (4, 6)"),
    (Network("a", ip="4"), "ip='4': it must be 4, 6 or both, (4, 6)"),
    (
        Network("a", routers=["r"]),
        (
            "with routers or several bridges it must say who is linked to whom: links=[('a',"
            " 'lan'), ...]"
        ),
    ),
    (
        Network("a", "b", links=["ab", ("a", "b", "c")]),
        "links: 'ab' is no link: it must be Link('a', 'b', ...) or ('a', 'b')",
    ),
    (Network("a", "b", links=[("a", "x")]), "Link('a', 'x'): there is no 'x'; there are a, b"),
    (Network("a", "b", links=[("a", "a")]), "Link('a', 'a'): a link has two ends"),
    (
        Network("a", "b", links=[("a", "b"), ("b", "a")]),
        "Link('b', 'a'): these two are linked already",
    ),
    (Network("a", "b", "c", links=[("a", "b")]), "the host 'c' has no link"),
    (
        Network(
            "a", bridges=["x", "y", "z"], links=[("a", "x"), ("x", "y"), ("y", "z"), ("z", "x")]
        ),
        (
            "the link of the bridges 'z' and 'x' closes a ring, in which packets would go round for"
            " ever"
        ),
    ),
    (
        Network(
            "a", "b", links=[Link("a", "b", addresses={"a": "192.0.2.1/24", "b": "192.0.2.1/24"})]
        ),
        "'a' and 'b' both have the address 192.0.2.1",
    ),
    (
        Network(
            "a", "b", links=[Link("a", "b", addresses={"a": "192.0.2.1/25", "b": "192.0.2.200/25"})]
        ),
        (
            "'a' and 'b' are on one link or bridge, and 192.0.2.200/25 is not of the network"
            " 192.0.2.0/25: they would not hear each other"
        ),
    ),
    (
        Network(
            "a",
            "b",
            "c",
            links=[
                Link("a", "b", addresses={"a": "10.7.0.1/24"}),
                Link("b", "c", addresses={"b": "10.7.0.5/16"}),
            ],
        ),
        (
            "the networks 10.7.0.0/24 and 10.7.0.0/16 overlap, and are not on one link or bridge:"
            " nobody could tell where to send"
        ),
    ),
    (
        Network(
            "a",
            "b",
            "c",
            **LAN,
            links=[Link("a", "lan", addresses={"a": "192.0.2.1/30"}), ("b", "lan"), ("c", "lan")],
        ),
        "the network 192.0.2.0/30 has no address left for 'c'",
    ),
    (
        Network("a", "b", links=[Link("a", "b", addresses={"a": "192.0.2.1"})]),
        "such as '192.0.2.1/24'",
    ),
    (
        Network("a", "b", links=[Link("a", "b", addresses={"a": "192.0.2.0/24"})]),
        "it means the network, not somebody in it",
    ),
    (Network("a", "b", links=[Link("a", "b", addresses={"a": "127.0.0.9/8"})]), "it is reserved"),
    (
        Network("a", "b", links=[Link("a", "b", addresses={"c": "192.0.2.1/24"})]),
        "addresses: 'c' is none of its ends",
    ),
    (
        Network("a", **LAN, links=[Link("a", "lan", addresses={"lan": "192.0.2.1/24"})]),
        "addresses: 'lan' is a bridge, which has no addresses",
    ),
    (
        Network("a", "b", ip=6, links=[Link("a", "b", addresses={"a": "192.0.2.1/24"})]),
        "is of IPv4, and the network has ip=6",
    ),
    (
        Network("a", "b", links=[Link("a", "b", nat="a")]),
        "nat='a': it must be a router that is one of its two ends",
    ),
    (
        Network("a", "b", rate=0),
        (
            "rate=0: it must be from 1kbit to 30gbit a second, which is what the kernel's"
            " schedulers can do"
        ),
    ),
    (
        Network("a", "b", rate="10M"),
        (
            "rate='10M': it must be bits a second: a number, or text such as '512kbit', '10mbit' or"
            " '1gbit'"
        ),
    ),
    (Network("a", "b", rate="100gbit"), "rate='100gbit': it must be from 1kbit to 30gbit a second"),
    (
        Network("a", "b", loss=5),
        "loss=5: it must be a share of packets: a number from 0 to 1, or text such as '5%'",
    ),
    (Network("a", "b", delay=-1), "delay=-1: it must be more than 0 seconds"),
    (
        Network("a", "b", delay="1h"),
        (
            "delay='1h': it must be at most 240 s, the longest that the kernel's network emulator"
            " holds a packet"
        ),
    ),
    (
        Network("a", "b", jitter="10ms"),
        (
            "jitter=0.01: it must not be more than the delay, 0 s: no packet arrives before it was"
            " sent"
        ),
    ),
    (
        Network("a", "b", reorder=0.5),
        "reorder=0.5: it needs a delay, which the packets that overtake others go without",
    ),
    (Network("a", "b", mtu=576), "mtu=576: IPv6 needs at least 1280; ip=4 does without it"),
    (
        Network("a", "b", mtu=10),
        "mtu=10: it must be a number of bytes from 68 to 65535, and with IPv6 at least 1280",
    ),
    (
        Network(*(f"h{each}" for each in range(101))),
        "it has 102 hosts, routers and bridges; there can be 100",
    ),
]


@pytest.mark.parametrize(
    ("network", "sentence"), IMPOSSIBLE, ids=[sentence[:40] for _, sentence in IMPOSSIBLE]
)
def test_what_cannot_be_is_one_sentence(network, sentence):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - compared below
        network.topology  # noqa: B018 - raises
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ({"delay": "200ms"}, Conditions(delay=0.2)), ({"loss": "5%"}, Conditions(loss=0.05)),
        ({"rate": "512kbit"}, Conditions(rate=512_000)),
        ({"rate": "1.5Mbit/s"}, Conditions(rate=1_500_000)),
        ({"rate": 8000}, Conditions(rate=8000)), ({"mtu": 576}, Conditions(mtu=576)),
        ({"delay": 0}, Conditions()), ({"loss": 1}, Conditions(loss=1.0)),
    ],
)  # fmt: skip
def test_units(given, value):
    assert conditions(given) == value


def test_a_change_keeps_what_it_does_not_name_and_none_takes_back():
    before = conditions({"delay": 1, "loss": 0.5})
    assert conditions({"delay": None}, before) == Conditions(loss=0.5)
    assert conditions({"loss": 0}, before) == Conditions(delay=1.0)


@given(st.integers(2, 40), st.integers(0, 3))
def test_no_address_is_given_twice_and_everybody_knows_a_way_to_everybody(hosts, routers):
    """Lans in a row, with routers between them."""
    lans = [f"lan{each}" for each in range(routers + 1)]
    links = [(f"h{each}", lans[each % len(lans)]) for each in range(hosts)]
    links += [(f"r{each}", lans[each + side]) for each in range(routers) for side in (0, 1)]
    topology = Network(
        *(f"h{each}" for each in range(hosts)),
        bridges=lans,
        routers=[f"r{each}" for each in range(routers)],
        links=links,
    ).topology
    given = [
        each.ip
        for node, kind in topology.kinds.items()
        if kind != "bridge"
        for each in topology.addresses(node)
    ]
    assert len(given) == len(set(given))
    for node, known in topology.routes.items():
        reached = [each.network for each in topology.addresses(node)] + [each.to for each in known]
        assert all(
            any(address in network for network in reached if network.version == address.version)
            for address in given
        ), node


@pytest.mark.parametrize(
    ("network", "needed"),
    [
        (Network("a", "b"), {"veth", "bridge", "ipv6"}),
        (Network("a", "b", links=[("a", "b")], ip=4), {"veth"}),
        (Network("a", "b", ip=4, delay=1), {"veth", "bridge", "netem"}),
        (Network("a", "b", ip=4, rate="1mbit"), {"veth", "bridge", "tbf"}),
        (Network("a", routers=["r"], ip=4, links=[Link("a", "r", nat="r")]), {"veth", "nat"}),
    ],
)
def test_what_the_kernel_has_to_have_is_what_is_asked_for(network, needed):
    assert set(needs.of(network.topology)) == needed


def test_a_network_is_shown_as_it_was_written():
    """With all that is not as by default."""
    for written in (
        "Network('a', 'b')",
        "Network('a', bridges=['lan'], ip=4, capture=True, delay='5ms')",
        "Network('a', 'b', ip=[6], mtu=1280)",
    ):
        assert repr(eval(written)) == written
