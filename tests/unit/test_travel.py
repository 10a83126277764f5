"""An entry on its way from a worker to the controller: whole, whatever its names hold, and refused
when it is none.
"""

import json

import pytest

from pytest_isolate._model import Usage
from pytest_isolate._report import travel
from pytest_isolate._report.json_report import Entry
from pytest_isolate._violations import PidsExceeded

VIOLATION = PidsExceeded("pids", "pids: too many", "call", 5, 5)
ENTRY = Entry(
    "t.py::test\udcff",
    "failed",
    "violation",
    {"pids": 5},
    Usage(1.5),
    (VIOLATION,),
    ((7, "\udcff\n"),),
    started=1.5,
    worker="gw1",
)


def test_an_entry_arrives_as_it_was_sent():
    """Also with bytes in its names that are no text: execnet carries UTF-8 only."""
    text = travel.pack(ENTRY)
    assert text.isascii()
    key, entry = travel.unpack(text)
    assert entry == json.loads(json.dumps(ENTRY.as_json()))
    assert key == ("gw1", "t.py::test\udcff", 1.5)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"nodeid": 5}, "its 'nodeid' is 5"),
        ({"outcome": None}, "its 'outcome' is None"),
        ({"more": 1}, "keys of an entry"),
        ({"started": "now"}, "its 'started' is 'now'"),
        ({"violations": ["none"]}, "the violation 'none'"),
        ({"violations": [{"resource": "memory"}]}, "the violation {'resource'"),
        ({"usage": {"wall_seconds": 1}}, "other figures"),
        (
            {"usage": ENTRY.as_json()["usage"] | {"wall_seconds": "long"}},
            "its usage has 'wall_seconds': 'long'",
        ),
        (
            {"usage": ENTRY.as_json()["usage"] | {"wall_seconds": True}},
            "its usage has 'wall_seconds': True",
        ),
        (
            {"usage": ENTRY.as_json()["usage"] | {"wall_seconds": float("inf")}},
            "its usage has 'wall_seconds': inf",
        ),
        (
            {"usage": ENTRY.as_json()["usage"] | {"wall_seconds": 10**400}},
            "its usage has 'wall_seconds': 1000",
        ),
    ],
)
def test_what_is_no_entry_is_refused(changed, why):
    """Of another version, or made up: one sentence says what is wrong."""
    with pytest.raises(ValueError, match=why):
        travel.unpack(json.dumps(ENTRY.as_json() | changed))


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "[" * 100_000, 5, None])
def test_no_text_at_all_makes_anything_but_a_value_error(text):
    """Deep nesting too."""
    with pytest.raises(ValueError):  # noqa: PT011 - json's own sentences
        travel.unpack(text)
