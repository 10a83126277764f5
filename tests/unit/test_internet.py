"""What can be said of a way out."""

from __future__ import annotations

import pytest

from pytest_isolate import Internet
from pytest_isolate._config import networking
from pytest_isolate._config.internet import Allowed
from pytest_isolate._network.outward import Reached
from pytest_isolate._network.way_out import WayOut
from pytest_isolate._sandbox.recipe import Uplink


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pypi.org", Allowed("pypi.org", is_name=True)),
        ("pypi.org.:443", Allowed("pypi.org", True, "", 443)),
        ("db_1.internal:53/udp", Allowed("db_1.internal", True, "udp", 53)),
        ("192.0.2.7:80/tcp", Allowed("192.0.2.7/32", False, "tcp", 80)),
        ("10.1.2.3/8", Allowed("10.0.0.0/8")),
        ("10.0.0.0/8:443", Allowed("10.0.0.0/8", False, "", 443)),
        ("2001:db8::1", Allowed("2001:db8::1/128")),
        ("[2001:db8::/32]:443", Allowed("2001:db8::/32", False, "", 443)),
        ("0.0.0.0/0", Allowed("0.0.0.0/0")),
    ],
    ids=str,
)
def test_destinations(text, expected):
    assert Internet(allow=[text]).allowed == (expected,)


@pytest.mark.parametrize(
    ("allow", "said"),
    [
        ("pypi.org", "it must be a list of destinations"), (7, "it must be a list"),
        ([7], "7 is no destination"), ([""], "is no destination"), (["a b"], "is no destination"),
        (["*.pypi.org"], "a name stands for itself alone"), (["pypi.org:0"], "from 1 to 65535"),
        (["pypi.org:70000"], "from 1 to 65535"), (["localhost:80"], "forward= reaches"),
        (["127.0.0.0/8"], "forward= reaches"), (["::1"], "forward= reaches"),
        (["224.0.0.1"], "multicast"), (["a.example"] * 1001, "there can be 1000"),
        (["https://pypi.org"], "is no destination"),
    ],
    ids=str,
)  # fmt: skip
def test_bad_destinations_are_said(allow, said):
    """With what is allowed; a bad list is met when the marker is read, not where it is written."""
    value = Internet(allow=allow)
    with pytest.raises(ValueError, match=said):
        networking.parse(value)


def test_the_word_is_the_value_without_a_list():
    assert networking.parse("INTERNET") == Internet()
    assert networking.show(Internet()) == "internet"
    assert networking.of(Internet()).allowed is None
    assert networking.in_recipe(Internet(allow=["a"])) == networking.in_recipe(
        Internet(allow=["a"])
    )


def test_destinations_can_be_named_one_by_one():
    """As hosts are in ``Network``; a list of them is the same."""
    whole = Internet(allow=["pypi.org:443", "192.0.2.0/24"])
    assert Internet("pypi.org:443", "192.0.2.0/24") == whole
    assert Internet(["pypi.org:443", "192.0.2.0/24"]) == whole
    assert Internet("pypi.org:443", allow=["192.0.2.0/24"]) == whole
    assert networking.of(whole).allowed == networking.of(Internet(*whole.allow)).allowed
    with pytest.raises(ValueError, match="must be a list of destinations"):
        networking.parse(Internet("pypi.org", allow="192.0.2.1"))


def test_who_was_denied():
    """What a test says is no number is nobody who is allowed."""
    to_some = WayOut(
        Uplink((), "tap0", ()),
        (("192.0.2.7", "a.example"),),
        None,
        (Reached("192.0.2.7/32", "", 443), Reached("2001:db8::/32", "", 0)),
        ("198.51.100.1",),
    )
    denied = {
        (address, port, is_name)
        for address, port, is_name in [
            ("192.0.2.7", 443, False), ("192.0.2.7", 80, False), ("2001:db8::9", 1, False),
            ("A.example", 443, True), ("b.example", 443, True), ("junk", 1, False),
            (None, None, False),
        ]
        if to_some.has_denied(address, port, is_name=is_name)
    }  # fmt: skip
    assert denied == {
        ("192.0.2.7", 80, False), ("b.example", 443, True), ("junk", 1, False), (None, None, False),
    }  # fmt: skip
    to_all = to_some._replace(reached=None)
    assert to_all.has_denied("198.51.100.1", 80, is_name=False)
    assert not to_all.has_denied(None, None, is_name=False)
