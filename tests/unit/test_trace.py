"""The trace: what a viewer takes, whatever tests said."""

import json

import pytest

from pytest_isolate._report import trace
from pytest_isolate._report.json_report import Entry

USAGE = Entry("", "", "", {}, None).as_json()["usage"]


def entry(name, start, seconds, **more):
    usage = USAGE | {"wall_seconds": seconds, "memory_peak_bytes": 4096}
    made = Entry(name, "passed", "ok", {}, None, started=start).as_json()
    return made | {"usage": usage} | more


def events_of(entries):
    """Read a trace as a viewer does, and hold it to the format's rules."""
    found = json.loads(trace.text(entries))["traceEvents"]
    spans = {}
    for each in found:
        assert each["ph"] in {"X", "M", "C"}
        assert each["name"]
        assert type(each["pid"]) is int
        if each["ph"] != "M":
            assert type(each["ts"]) is int
            assert each["ts"] >= 0
        if each["ph"] == "X":
            assert each["dur"] >= 0
            spans.setdefault((each["pid"], each["tid"]), []).append((each["ts"], -each["dur"]))
        if each["ph"] == "C":
            assert all(type(value) is int for value in each["args"].values())
    for lane in spans.values():  # spans of a lane are beside or within each other
        around = []
        for begin, minus in sorted(lane):
            while around and around[-1] <= begin:
                around.pop()
            assert not around or begin - minus <= around[-1]
            around.append(begin - minus)
    named = {(each["pid"], each["tid"]) for each in found if each["name"] == "thread_name"}
    assert spans.keys() <= named
    return found


def test_each_job_and_worker_has_a_lane_with_tests_phases_and_memory():
    """And each process one with the building of its sandboxes."""
    entries = [
        entry("t.py::a", 10.0, 1.0, job=0, memory_samples=[[0.1, 100], [0.5, 200]],
              building=[{"start": 9.5, "seconds": 0.25}],
              phases=[{"when": "setup", "start": 9.0, "seconds": 1.25},
                      {"when": "call", "start": 10.25, "seconds": 0.5}]),
        entry("t.py::b", 10.5, 1.0, job=1),
        entry("t.py::c", 11.5, 1.0, worker="gw1"),
    ]  # fmt: skip
    found = events_of(entries)
    names = {
        (each["pid"], each["tid"]): each["args"]["name"]
        for each in found
        if each["name"] == "thread_name"
    }
    spans = [
        (names[each["pid"], each["tid"]], each["name"], each["ts"], each["dur"])
        for each in found
        if each["ph"] == "X"
    ]
    assert spans == [
        ("job 1", "t.py::a", 500_000, 1_000_000),
        ("job 1", "setup", 500_000, 250_000),  # a part of it was before the fork
        ("job 1", "call", 750_000, 500_000),
        ("building of sandboxes", "build", 0, 250_000),
        ("job 2", "t.py::b", 1_000_000, 1_000_000),
        ("gw1", "t.py::c", 2_000_000, 1_000_000),
    ]
    assert [(each["name"], each["ts"], each["args"]["bytes"]) for each in found if each["ph"] == "C"] == [
        ("memory, job 1", 600_000, 100), ("memory, job 1", 1_000_000, 200), ("memory, job 1", 1_500_000, 0),
    ]  # fmt: skip


def test_a_sandbox_that_tests_share_was_built_once():
    """It stands in the entry of each of them."""
    span = [{"start": 1.0, "seconds": 0.5}]
    found = events_of([entry(f"t.py::{n}", 2.0 + n, 1.0, building=span) for n in range(3)])
    assert [each["name"] for each in found].count("build") == 1


@pytest.mark.parametrize("start", [0, -1.0, 5.0, 10.4, 10.9, 1e18])
@pytest.mark.parametrize("seconds", [0, 1e-9, 0.3, 1e18])
def test_phases_that_a_test_made_up_stay_within_it(start, seconds):
    """They are its own word: a viewer that met overlapping spans would draw nonsense."""
    phases = [
        {"when": "call", "start": start, "seconds": seconds},
        {"when": "setup", "start": 10.2, "seconds": 0.4},
        {"when": "teardown", "start": 10.3, "seconds": 0.1},
    ]
    events_of([entry("\ud800</script>" * 1000, 10.0, 1.0, phases=phases)])


def test_a_run_in_which_nothing_ran_is_an_empty_trace():
    """Tests without a sandbox have no time."""
    assert events_of([]) == events_of([entry("t.py::a", 1.0, None)]) == []
