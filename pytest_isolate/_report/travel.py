"""Under pytest-xdist: a test's entry on its way from a worker to the controller, as JSON text with
the test's last report.
"""

from __future__ import annotations

import json
from typing import Any

from pytest_isolate._report.json_report import Entry, is_figure

#: The report's attribute. pytest's serialization carries attributes that it does not know.
ATTRIBUTE = "pytest_isolate_entry"
_NULL = type(None)
_FORM: dict[str, type | tuple[type, ...]] = {
    name: type(value) for name, value in Entry("", "", "", {}, None).as_json().items()
}
_FORM |= {
    "started": (float, int, _NULL),
    "worker": (str, _NULL),
    "line": (int, _NULL),
    "output": (str, _NULL),
    "reason": (str, _NULL),
}
_FORM |= {"memory_peak_process": (dict, _NULL)}
_VIOLATION = ("resource", "message", "phase")


def pack(entry: Entry) -> str:
    """ASCII only: names of files and processes can hold what execnet's UTF-8 cannot."""
    return json.dumps(entry.as_json(), separators=(",", ":"))


def unpack(text: object) -> tuple[tuple[object, ...], dict[str, Any]]:
    """Give the entry, and by what a later one of its test replaces it.

    Raises ``ValueError`` for what no worker of this version sends.
    """
    try:
        entry = json.loads(str(text))
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    if not isinstance(entry, dict) or entry.keys() != _FORM.keys():
        raise ValueError("it is no object with the keys of an entry")
    for name, kind in _FORM.items():
        if not isinstance(entry[name], kind):
            raise ValueError(f"its {name!r} is {entry[name]!r:.100}")
    for name, figure in entry["usage"].items():
        if not is_figure(figure):
            raise ValueError(f"its usage has {name!r}: {figure!r:.100}")
    for violation in entry["violations"]:
        if not isinstance(violation, dict) or not all(
            isinstance(violation.get(name), str) for name in _VIOLATION
        ):
            raise ValueError(f"it has the violation {violation!r:.100}")
    if entry["usage"].keys() != Entry("", "", "", {}, None).as_json()["usage"].keys():  # type: ignore[attr-defined]
        raise ValueError("its usage has other figures")
    return (entry["worker"], entry["nodeid"], entry["started"]), entry
