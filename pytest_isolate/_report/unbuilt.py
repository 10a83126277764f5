"""Tests that had no sandbox, or a bare one: a run in which none could be built must not look like
one that overstepped nothing. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from pytest_isolate._config.values import counted
from pytest_isolate._errors import without_help

_SAME = "the sandbox could not be built: "  # as the heading has said
_WITHOUT_REASON = "the report does not say why"  # one of an earlier version


class Unbuilt(NamedTuple):
    """Why some tests had no sandbox, and which."""

    reason: str  # the first one's
    entries: list[Mapping[str, Any]]

    @property
    def brief(self) -> str:
        """The heading without what helps, which the first test's error says."""
        happened, helps = without_help(self.heading)
        first = self.entries[0]["nodeid"]
        return f"{happened} (what helps: see {first})" if helps else happened

    @property
    def heading(self) -> str:
        """All of it in one line; of a traceback what was raised."""
        first, *rest = self.reason.removeprefix(_SAME).strip().split("\n")
        return " ".join(
            [f"{counted(len(self.entries), 'test')} had no sandbox: {first}", *rest[-1:]]
        )


def is_unbuilt(entry: Mapping[str, Any]) -> bool:
    """Whether a test is an error because there was no sandbox for it, or none that can be had."""
    return entry.get("verdict") == "sandbox_error"


def is_bare(entry: Mapping[str, Any]) -> bool:
    """Whether a test ran, with ``on_missing="warn"``, where there were no namespaces for it."""
    walls = entry.get("walls") or ()
    return bool(walls) and "namespaces" not in walls


def unbuilt(entries: Iterable[Mapping[str, Any]]) -> list[Unbuilt]:
    """By reason, those of most tests first.

    Reasons that differ in the name of their own test only are one.
    """
    found: dict[str, Unbuilt] = {}
    for entry in entries:
        if is_unbuilt(entry):
            reason = str(entry.get("reason") or _WITHOUT_REASON)
            same = reason.replace(str(entry["nodeid"]).split("[", 1)[0], "")
            found.setdefault(same, Unbuilt(reason, [])).entries.append(entry)
    return sorted(found.values(), key=lambda each: -len(each.entries))
