"""An entry on its way from a worker to the controller: whole, whatever its names hold, and refused
when it is none.
"""

import json

import pytest

from pytest_isolate._forward.place import Place
from pytest_isolate._forward.server import Server, Used
from pytest_isolate._model import Usage
from pytest_isolate._report import travel
from pytest_isolate._report.json_report import Carried, Entry, Phase
from pytest_isolate._sandbox.changes import Changes
from pytest_isolate._verdict.network_attempts import Attempt
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
    changes=Changes(["/tmp/\udcff"]),
    attempts=(Attempt(None, None, 3),),
    memory=((0.02, 4096),),
    largest=("sleep", 4096),
    line=7,
    output="said",
    reason="none",
    walls=("process",),
    sampled=("memory",),
    servers=(Used(Server(Place("tcp", "::1", 80), "process 1 (x)", "db"), 1, 2, 3),),
    links=(Carried("a", "lan", 1, 60, 0),),
    job=1,
    origins={"pids": "by @isolate"},
    failure="E  pids",
    phases=(Phase("call", 1.5, 0.5),),
    retries=("E  first",),
    building=((1.25, 0.125),),
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
        ({"violations": ["none"]}, r"its 'violations'\[0\] is 'none'"),
        ({"violations": [{"resource": "memory"}]}, r"its 'violations'\[0\] is {'resource'"),
        ({"usage": {"wall_seconds": 1}}, "its 'usage' is {'wall_seconds'"),
        ({"limits": {"memory": "all"}}, r"its 'limits'\['memory'\] is 'all'"),
        ({"leaked_processes": [{"pid": 1, "command": None}]}, r"\['command'\] is None"),
        ({"memory_peak_process": {}}, "its 'memory_peak_process' is {}"),
        ({"memory_samples": [[1.5, "x"]]}, r"its 'memory_samples'\[0\] is \[1.5, 'x'\]"),
        ({"job": True}, "its 'job' is True"),
        ({"phases": [{"when": "call", "start": "1", "seconds": 1}]}, r"\['start'\] is '1'"),
        ({"retries": [None]}, r"its 'retries'\[0\] is None"),
        ({"network": {"attempts": [], "servers": []}}, "its 'network' is"),
        (
            {"usage": ENTRY.as_json()["usage"] | {"wall_seconds": "long"}},
            r"its 'usage'\['wall_seconds'\] is 'long'",
        ),
        (
            {"usage": ENTRY.as_json()["usage"] | {"wall_seconds": True}},
            r"its 'usage'\['wall_seconds'\] is True",
        ),
        (
            {"usage": ENTRY.as_json()["usage"] | {"wall_seconds": float("inf")}},
            r"its 'usage'\['wall_seconds'\] is inf",
        ),
        (
            {"usage": ENTRY.as_json()["usage"] | {"wall_seconds": 10**400}},
            r"its 'usage'\['wall_seconds'\] is 1000",
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
