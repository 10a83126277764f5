"""What a child wrote, read as if an enemy had written it: the one place where types of frames are
checked.

``checked`` looks at every frame of a test that is over, before anything else does; ``report`` makes
pytest's report of one of them. From then on fields have the types that ``_child.inside`` gives
them, so that no hook of pytest or of a plugin meets what no child of ours would have said. A frame
that does not fit is the violation of that one test, and nothing behind it counts.
"""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from typing import Any

import pytest

from pytest_isolate._messages import mend, sources
from pytest_isolate._messages.shapes import (
    RESERVED_ATTRIBUTES,
    anything,
    either,
    fits,
    is_amount,
    is_character,
    is_environment,
    is_errno,
    is_integer,
    is_number,
    is_outcome,
    is_path,
    is_process,
    is_xml_name,
)
from pytest_isolate._pytest import serialization
from pytest_isolate._sandbox.frames import Frame, GarbledError
from pytest_isolate._sandbox.salvage import Reader
from pytest_isolate._verdict.evidence import PHASES
from pytest_isolate._verdict.thread_stacks import MOST_FRAMES

UNREADABLE = "wrote a report that pytest cannot read: "  # of whom: the test's process
_LONGEST_NAME = 200  # of a function


_SCALAR = either(str, int, float, bool, None)
_FLAG = either(bool, None)
_PHASE = either(*map(repr, PHASES))
_PLACE = {"path": str, "lineno": is_integer, "message": str}
_LONG_ENTRY = {
    "lines": [str],
    "style": str,
    "reprfuncargs": either(None, {"args": [(_SCALAR, _SCALAR)]}),
    "reprlocals": either(None, {"lines": [str]}),
    "reprfileloc": either(None, _PLACE),
}
_ENTRY = either(
    {"type": "'ReprEntry'", "data": _LONG_ENTRY},
    {"type": "'ReprEntryNative'", "data": {"lines": [str]}},
)
_TRACEBACK = {"reprentries": [_ENTRY], "extraline": either(str, None), "style": str}
_FAILURE = {
    "reprcrash": either(None, _PLACE),
    "reprtraceback": _TRACEBACK,
    "sections": [(str, str, is_character)],
    "chain": either(None, [(_TRACEBACK, either(None, _PLACE), either(str, None))]),
}
_SKIP = (str, either(is_integer, None), str)
_STACK = [(str, is_integer, str)]
#: An exception; those of a group have the same shape, as deep as they were told.
_RAISED: dict[str, object] = {
    "classes": [(str, str)],
    "message": str,
    "arguments": either(None, [_SCALAR]),
    "stack": _STACK,
}
_RAISED["exceptions"] = [lambda value: fits(value, _RAISED)]
_SUBTEST = {"msg": _SCALAR, "kwargs": dict}
#: Of a report, in pytest's own form (``pytest_report_to_serializable``).
_REPORT: dict[str, object] = {
    "nodeid": str,
    "when": _PHASE,
    "outcome": is_outcome,
    "keywords": dict,
    "longrepr": either(None, str, _FAILURE, _SKIP),
    "sections": [(str, str)],
    "user_properties": [(str, anything)],
    "duration": is_number,
    "start": either(is_number, None),
    "stop": either(is_number, None),
    "wasxfail": _SCALAR,
    "_subtest.context": either(None, _SUBTEST),
}
_OF_PYTEST = {*_REPORT, "location", "$report_type", "_report_type", "rerun"}
#: Kind of a frame -> its fields. What is not named here does not count.
_FRAMES: dict[str, dict[str, object]] = {
    "entered": {
        "pid": is_process,
        "base": is_amount,
        "traces": bool,
        "processor": either((is_number, is_number), None),
        "at": either(is_number, None),
        "lost": either(None, [(str, is_errno)]),
    },
    "phase": {"when": _PHASE, "sections": [(str, str)]},
    "broken": {"step": str, "path": str, "errno": is_errno},
    "report": {
        "when": _PHASE,
        "report": dict,
        "seen": [str],
        "drawn": _FLAG,
        "failed_subtests": either(is_integer, None),
        "raised": either(None, _RAISED),
        "unsaid": either(None, [str]),
    },
    "warning": {
        "message": str,
        "module": str,
        "category": str,
        "filename": str,
        "lineno": either(is_integer, None),
    },
    "oversized": {"message": str},
    "lost": {"message": str},
    "network": {"attempts": list},
    "writes": {"when": _PHASE, "places": [(is_path, str)]},
    "links": {"links": [(str, str, is_amount, is_amount, is_amount)]},
    "refused": {"port": is_integer},
    "refused_path": {"path": is_path},
    "tries": {"port": is_integer},
    "tmp_path": {"path": is_path},
    "debugger": {},
    "shell": {"when": _PHASE, "directory": is_path, "environment": is_environment},
    "allocations": {"lines": [(str, is_integer, is_integer, is_integer)]},
    "junit": {"properties": [(str, str)], "attributes": [(is_xml_name, str)]},
    "coverage": {},  # checked where it is read
    "allure": {"result": str},  # the same
    "raised": {
        "what": either("'exit'", "'interrupt'", "'internal'"),
        "message": str,
        "returncode": either(is_integer, None),
        "stack": either(None, _STACK),
    },
    "stop": {"shouldstop": str, "shouldfail": str, "early": bool},
    "need": {"fixture": str, "when": either(None, _PHASE)},
    "end": {"live": _FLAG},
}


def sendable(value: Any) -> Any:  # noqa: ANN401 - whatever JSON has
    """Spell out the halves of surrogates in all its texts: for execnet, which sends UTF-8, they are
    the end of xdist's whole run.
    """
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, list):
        return [sendable(each) for each in value]
    if isinstance(value, dict):
        return {sendable(name): sendable(each) for name, each in value.items()}
    return value


def checked(
    frames: list[Frame], *, strict: bool, may_need: bool = False
) -> tuple[list[Frame], str | None]:
    """Return the frames up to the first that no child of ours would have written, and what the
    test's process did by that one.
    """
    for number, frame in enumerate(frames):
        if (wrong := _wrong(frame, number, strict=strict, may_need=may_need)) is not None:
            return frames[:number], wrong
    return frames, None


def _wrong(frame: Frame, number: int, *, strict: bool, may_need: bool) -> str | None:
    kind = str(frame["kind"])
    if kind not in _FRAMES:
        return f"{UNREADABLE}a frame is of the kind {reprlib.repr(kind)}"
    if (bad := _misfit(frame, _FRAMES[kind])) is not None:
        return f"{UNREADABLE}of a frame {kind!r} {bad}"
    if (kind in {"entered", "broken"} and number) or (kind == "need" and not may_need):
        return f"{UNREADABLE}a frame {kind!r} comes after the test began"
    if kind in {"raised", "stop"} and strict:
        how = {
            "exit": "pytest.exit",
            "interrupt": "KeyboardInterrupt",
            "internal": "an internal error",
        }.get(str(frame.get("what")))
        said = reprlib.repr(
            frame.get("message") or frame.get("shouldstop") or frame.get("shouldfail")
        )
        return (
            f"wanted to end the whole run ({how or 'session.shouldstop or shouldfail'}: {said}),"
            " which profile='strict' lets no test do"
        )
    if kind == "report" and (bad := report_fault(frame["report"])) is not None:
        return UNREADABLE + bad
    return None


def _misfit(value: dict[str, Any], shapes: dict[str, object]) -> str | None:
    for name, shape in shapes.items():
        if not fits(value.get(name), shape):
            return f"{name!r} is {reprlib.repr(value.get(name))}"
    return None


def shell_fault(frame: Frame) -> str | None:
    """Return what is wrong with a frame that asks for a shell, while the test still runs."""
    return _misfit(frame, _FRAMES["shell"])


def report_fault(data: object) -> str | None:
    """Return what is wrong with a report in pytest's own JSON form; None if nothing is."""
    assert isinstance(data, dict)
    if (bad := _misfit(data, _REPORT)) is not None:
        return f"its {bad}"
    if "longrepr" not in data:  # whose shape may be None, which is not nothing
        return "its 'longrepr' is missing"
    outcome, longrepr = data["outcome"], data["longrepr"]
    expected_skip = outcome == "skipped" and "wasxfail" not in data
    if isinstance(longrepr, list) != expected_skip and not (
        outcome == "skipped" and "wasxfail" in data
    ):
        return f"its outcome is {outcome!r} and its 'longrepr' is {reprlib.repr(longrepr)}"
    if outcome == "failed" and longrepr is None:
        return "it is a failure that says nothing"
    for name in data.keys() - _OF_PYTEST:
        if name in RESERVED_ATTRIBUTES or name.startswith("__") or hasattr(pytest.TestReport, name):
            return f"it sets {reprlib.repr(name)}, which is not a child's to set"
    return None


def report(item: pytest.Item, frame: Frame, *, strict: bool) -> pytest.TestReport:
    """Give pytest's report of a checked frame.

    Raises ``GarbledError`` when a plugin cannot read it, or it is another test's.
    """
    data: Any = frame["report"]
    if strict:  # a plugin's own attributes: nobody here knows which types it expects
        data = {name: value for name, value in data.items() if name in _OF_PYTEST}
    try:
        made = item.config.hook.pytest_report_from_serializable(config=item.config, data=data)
        nodeid = str(made.nodeid)
    except Exception as error:  # whatever a plugin raises on data that it did not write
        raise GarbledError(f"{type(error).__name__}: {reprlib.repr(str(error))}") from error
    if not isinstance(made, pytest.TestReport):
        raise GarbledError(f"it is a {type(made).__name__}")
    if nodeid != item.nodeid:
        raise GarbledError(f"it is for another test, {reprlib.repr(nodeid)}")
    if isinstance(made.longrepr, list):  # a skip's (path, line, reason), which JSON made a list
        made.longrepr = tuple(made.longrepr)
    if frame.get("drawn") and isinstance(made.longrepr, str):
        made.longrepr = mend.Drawn(made.longrepr)  # type: ignore[assignment] # pytest asks it for toterminal() only
    if hasattr(made, "wasxfail"):
        made.wasxfail = str(made.wasxfail)
    made.location = item.location
    serialization.take_identity(made, item)
    made.sections = [(name, text) for name, text in made.sections]
    made.user_properties = [(mend.xml_text(name), value) for name, value in made.user_properties]
    if type(made) is not pytest.TestReport:
        serialization.take_in_subtest(item, made, data, frame.get("failed_subtests"))
    return made


def places(
    stack: Sequence[tuple[str, int, str]], reader: Reader | None
) -> list[tuple[str, int, str]]:
    """Give a stack that pytest may show lines of. ``reader``: whose rights count."""
    return [
        (
            path if is_path(path) and sources.may_show(path, reader) else "?",
            line,
            function[:_LONGEST_NAME],
        )
        for path, line, function in stack[-MOST_FRAMES:]
    ]


def shown_line(path: str, reader: Reader | None) -> str | None:
    """Return what ``warnings.WarningMessage`` is to show of a file: None for a line of it, which
    pytest may read there, else nothing.
    """
    return None if is_path(path) and sources.may_show(path, reader) else ""
