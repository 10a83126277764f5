"""``--isolate-trace`` of a real run."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.anybody


def test_a_run_of_several_jobs_is_a_trace_of_lanes_phases_building_and_memory(pytester, isolated):
    """Two tests that wait for each other run at once, so they are in two lanes; each has its
    phases, and a sandbox that was built before it began.
    """
    pytester.makepyfile(
        test_it="""
        import os, time, pytest
        from pytest_isolate import isolate
        @isolate(bind=[os.getcwd()], timeout=60)
        @pytest.mark.parametrize("name, other", [("a", "b"), ("b", "a")])
        def test_meets(name, other):
            open(name, "w").close()
            while not os.path.exists(other):
                time.sleep(0.01)
            time.sleep(0.1)  # for samples of its memory
        """
    )
    args = ("--isolate-jobs=2", "--isolate-trace=out/trace.json", "--isolate-report=out/r.json")
    result = isolated(*args)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*generated trace: *trace.json*"])
    events = json.loads((pytester.path / "out/trace.json").read_text())["traceEvents"]
    tests = {each["name"]: each for each in events if each.get("cat") == "test"}
    assert tests.keys() == {"test_it.py::test_meets[a-b]", "test_it.py::test_meets[b-a]"}
    assert len({each["tid"] for each in tests.values()}) == 2
    for test in tests.values():
        inside = [
            each["name"]
            for each in events
            if each.get("cat") == "phase" and each["tid"] == test["tid"]
        ]
        assert "call" in inside
    built = [each for each in events if each.get("cat") == "sandbox"]
    assert {each["args"]["for"] for each in built} == tests.keys()
    for each in built:
        assert each["dur"] > 0
        assert each["ts"] + each["dur"] <= tests[each["args"]["for"]]["ts"]
    entries = json.loads((pytester.path / "out/r.json").read_text())["tests"]
    assert {each["job"] for each in entries} == {0, 1}
    assert all("@isolate on function" in each["origins"]["timeout"] for each in entries)
    lanes = {each["args"]["name"] for each in events if each["name"] == "thread_name"}
    assert lanes == {"building of sandboxes", "job 1", "job 2"}
