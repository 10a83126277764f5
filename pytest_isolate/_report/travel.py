"""Under pytest-xdist: a test's entry on its way from a worker to the controller, as JSON text with
the test's last report.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, NamedTuple

from pytest_isolate._model import Usage
from pytest_isolate._report.json_report import Entry, is_figure

#: The report's attribute. pytest's serialization carries attributes that it does not know.
ATTRIBUTE = "pytest_isolate_entry"


class _OrNull(NamedTuple):
    form: object


def _is_sample(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(is_figure, value))


_ANY = ""  # of an object's keys
#: What each value of an entry is: of a type, what a function holds for one, a list of those, or an
#: object with these keys.
_FORM: dict[str, object] = {
    "nodeid": str,
    "outcome": str,
    "verdict": str,
    "limits": {_ANY: is_figure},
    "usage": dict.fromkeys(asdict(Usage()), is_figure),
    "violations": [
        {"resource": str, "limit": is_figure, "used": is_figure, "phase": str, "message": str}
    ],
    "leaked_processes": [{"pid": int, "command": str}],
    "files": {"created": [str], "modified": [str], "deleted": [str]},
    "memory_samples": [_is_sample],
    "memory_peak_process": _OrNull({"command": str, "bytes": is_figure}),
    "network": {
        "attempts": [{"address": _OrNull(str), "port": _OrNull(int), "count": int}],
        "servers": [
            {
                "kind": str,
                "address": str,
                "process": str,
                "fixture": _OrNull(str),
                "connections": _OrNull(int),
                "sent_bytes": is_figure,
                "received_bytes": is_figure,
            }
        ],
        "links": [{"sender": str, "receiver": str, "packets": int, "bytes": int, "dropped": int}],
    },
    "started": is_figure,
    "worker": _OrNull(str),
    "line": _OrNull(int),
    "output": _OrNull(str),
    "reason": _OrNull(str),
    "walls": [str],
    "sampled": [str],
    "job": _OrNull(int),
    "origins": {_ANY: str},
    "failure": _OrNull(str),
    "phases": [{"when": str, "start": is_figure, "seconds": is_figure}],
    "retries": [str],
    "building": [{"start": is_figure, "seconds": is_figure}],
}


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
    for name, form in _FORM.items():
        for place, value in _misfits(entry[name], form):
            raise ValueError(f"its {name!r}{place} is {value!r:.100}")
    return (entry["worker"], entry["nodeid"], entry["started"]), entry


def _misfits(value: object, form: object) -> Iterator[tuple[str, object]]:
    """Yield what is of another form, and where in the value it is."""
    if isinstance(form, _OrNull):
        if value is not None:
            yield from _misfits(value, form.form)
        return
    parts: list[tuple[object, object, object]] = []  # key, value, form
    if isinstance(form, list) and isinstance(value, list):
        parts = [(at, each, form[0]) for at, each in enumerate(value)]
    elif isinstance(form, dict) and isinstance(value, dict) and _has_keys(value, form):
        parts = [(name, each, form.get(name, form.get(_ANY))) for name, each in value.items()]
    elif not _is(value, form):
        yield "", value
    for key, each, inner in parts:
        yield from ((f"[{key!r}]{place}", found) for place, found in _misfits(each, inner))


def _has_keys(value: dict[str, object], form: dict[str, object]) -> bool:
    return _ANY in form or value.keys() == form.keys()


def _is(value: object, form: object) -> bool:
    if isinstance(form, type):
        return type(value) is form  # a boolean is no number
    return callable(form) and bool(form(value))
