"""What a child says of coverage is believed only if it is names and numbers."""

from __future__ import annotations

import pytest

from pytest_isolate._messages.coverage import Measured, Measuring, read
from pytest_isolate._sandbox.frames import GarbledError


def frame(files, *, branches=True, context=""):
    return {"kind": "coverage", "context": context, "branches": branches, "files": files}


def test_branches_and_lines_are_read():
    """What a child of ours sends comes out as it was measured."""
    arcs = read(
        frame({"/a.py": {"seen": [[-1, 1], [1, 2]], "tracer": "django"}}, context="test|run")
    )
    assert arcs == Measured(
        "test|run", True, arcs={"/a.py": [(-1, 1), (1, 2)]}, tracers={"/a.py": "django"}
    )
    assert read(frame({"/a.py": {"seen": [1, 2], "tracer": ""}}, branches=False)).lines == {
        "/a.py": [1, 2]
    }


@pytest.mark.parametrize(
    "garbage",
    [
        {},
        frame([]),
        frame({}, branches=1),
        frame({}, context=None),
        frame({}, context="x" * (1 << 17)),
        frame({"/a\0": {"seen": [], "tracer": ""}}),
        frame({"/\ud800": {"seen": [], "tracer": ""}}),
        frame({"/a": []}),
        frame({"/a": {"seen": [1], "tracer": ""}}),
        frame({"/a": {"seen": [[1, 2, 3]], "tracer": ""}}),
        frame({"/a": {"seen": [[1, True]], "tracer": ""}}),
        frame({"/a": {"seen": [[1, 1 << 40]], "tracer": ""}}),
        frame({"/a": {"seen": [-1], "tracer": ""}}, branches=False),
        frame({"/a": {"seen": [1], "tracer": 1}}, branches=False),
    ],
    ids=lambda each: repr(each)[:60],
)
def test_anything_else_is_garbled(garbage):
    """No other type, size or shape reaches coverage.py."""
    with pytest.raises(GarbledError):
        read(garbage)


def test_many_high_lines_are_garbled():
    """Few bytes that would become gigabytes of bits are refused before any of them is stored."""
    measuring = Measuring.__new__(Measuring)  # it must not come to touch any measurement
    many = [Measured("", False, lines={f"/{number}.py": [1 << 20] for number in range(100)})]
    with pytest.raises(GarbledError, match="too large"):
        measuring.add(many)
