"""What a row of the page opens to: of each test what there is to tell, and nothing where there is
nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pytest_isolate._config.keywords import KEYWORDS
from pytest_isolate._config.values import format_size

Entry = Mapping[str, Any]

_MOST_TEXT = 16 << 20  # characters of failures and output in a page
_LEFT_OUT = "left out: the page has 16 MiB of such texts; --isolate-report has this one"
_MOST_PATHS = 100  # of each kind
_MOST_SAMPLES = 60  # of memory over time, in a chart as wide as a phone
_BAD = {"failed", "error"}


class Details:
    """The details of all tests, in their order, and what many of them have in common, once."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.common: list[object] = []
        self._known: dict[str, int] = {}
        self._text = _MOST_TEXT
        # Who failed comes first: if something has to be left out it is that of others
        order = sorted(range(len(entries)), key=lambda at: entries[at]["outcome"] not in _BAD)
        found = {at: self._of(entries[at]) for at in order}
        self.tests = [found[at] for at in range(len(entries))]

    def _of(self, entry: Entry) -> dict[str, object]:
        network = entry.get("network") or {}
        told: dict[str, object] = {
            "verdict": entry.get("verdict") if entry.get("verdict") != "ok" else None,
            "line": entry.get("line"),
            "worker": entry.get("worker"),
            "job": entry.get("job"),
            "violations": [each["message"] for each in entry["violations"]],
            "reason": self._cut(entry.get("reason")),
            "failure": self._cut(entry.get("failure")),
            "output": self._cut(entry.get("output")),
            "retries": [self._cut(each) for each in entry.get("retries") or ()],
            "limits": self._once(_limits(entry)),
            "limit": (entry.get("limits") or {}).get("memory"),
            "memory": _memory(entry.get("memory_samples") or ()),
            "largest": _largest(entry.get("memory_peak_process")),
            "files": _files(entry.get("files") or {}),
            "left": [f"{each['command']} (pid {each['pid']})" for each in _left(entry)],
            "attempts": [_attempt(each) for each in network.get("attempts") or ()],
            "servers": [_server(each) for each in network.get("servers") or ()],
            "links": [
                [each[name] for name in ("sender", "receiver", "packets", "bytes", "dropped")]
                for each in network.get("links") or ()
            ],
            "walls": self._once([*(entry.get("walls") or ())]),
            "sampled": self._once([*(entry.get("sampled") or ())]),
        }
        return {name: value for name, value in told.items() if value not in (None, [], {}, "")}

    def _cut(self, text: str | None) -> str | None:
        if text is None:
            return None
        self._text -= len(text)
        return text if self._text >= 0 else _LEFT_OUT

    def _once(self, value: list[Any]) -> int | None:
        """Give the number of a value that many tests have."""
        if not value:
            return None
        key = json.dumps(value)
        if key not in self._known:
            self._known[key] = len(self.common)
            self.common.append(value)
        return self._known[key]


def tags(entry: Entry) -> str:
    """Give the words by which a test can be found and filtered beside its outcome."""
    found = {
        "no-sandbox": entry.get("verdict") == "sandbox_error",
        "violation": bool(entry["violations"]),
        "retried": bool(entry.get("retries")),
        "left-processes": bool(_left(entry)),
        "network": bool((entry.get("network") or {}).get("attempts")),
        "no-namespaces": bool(entry.get("walls")) and "namespaces" not in entry["walls"],
    }
    return " ".join(name for name, is_so in found.items() if is_so)


def _limits(entry: Entry) -> list[list[object]]:
    """List each limit: its name, its value for people and as a number, and where it was set."""
    origins = entry.get("origins") or {}
    return [
        [
            name,
            KEYWORDS[name].show(value) if name in KEYWORDS else str(value),
            value,
            origins.get(name, ""),
        ]
        for name, value in (entry.get("limits") or {}).items()
    ]


def _memory(samples: Sequence[Sequence[float]]) -> list[list[int]]:
    """Give (milliseconds, KiB), of each of some spans the highest."""
    if len(samples) < 2:
        return []
    step = -(-len(samples) // _MOST_SAMPLES)
    spans: Iterable[Sequence[Sequence[float]]] = (
        samples[at : at + step] for at in range(0, len(samples), step)
    )
    highest = (max(span, key=lambda each: each[1]) for span in spans)
    return [[round(seconds * 1000), int(used) >> 10] for seconds, used in highest]


def _largest(process: Mapping[str, Any] | None) -> str | None:
    if process is None:
        return None
    return f"{format_size(int(process['bytes']))} by {process['command']!r}"


def _files(files: Mapping[str, Sequence[str]]) -> dict[str, list[object]]:
    """Give how many of each kind, and the first of them."""
    return {kind: [len(paths), list(paths[:_MOST_PATHS])] for kind, paths in files.items() if paths}


def _left(entry: Entry) -> Sequence[Mapping[str, Any]]:
    left: Sequence[Mapping[str, Any]] = entry.get("leaked_processes") or ()
    return left


def _attempt(attempt: Mapping[str, Any]) -> str:
    address = attempt["address"] or "by another process than the test's own Python"
    port = "" if attempt["port"] is None else f":{attempt['port']}"
    return f"{address}{port}" + (f", {attempt['count']} times" if attempt["count"] > 1 else "")


def _server(server: Mapping[str, Any]) -> str:
    fixture = f", started by the fixture {server['fixture']!r}" if server["fixture"] else ""
    used = ""
    if server["connections"] is not None:
        sent, back = (
            format_size(int(server[f"{name}_bytes"] or 0)) for name in ("sent", "received")
        )
        times = server["connections"]
        used = f": {times} connection{'' if times == 1 else 's'}, {sent} to it, {back} back"
    return f"{server['address']} of {server['process']}{fixture}{used}"
