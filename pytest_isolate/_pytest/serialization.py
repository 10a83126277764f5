"""What a report loses on its way from one process to another, and the plugin that is this way."""

from __future__ import annotations

import sys
from typing import Any

import pytest


def restore_serialization(manager: pytest.PytestPluginManager) -> None:
    """For -p no:reports: that plugin is the way in which pytest itself takes a report from one
    process to another, and nothing else.
    """
    manager.register(sys.modules["_pytest.reports"], "isolate-reports")


def take_identity(report: pytest.TestReport, item: pytest.Item) -> None:
    """Give a child's report the item's identity: pytest 9.2 parses it from its text, wrongly where
    a name has ``::``.
    """
    if hasattr(report, "_id") and hasattr(item, "id"):
        report._id = item.id


def _failed_subtests(item: pytest.Item) -> tuple[dict[object, int], object] | None:
    """Where pytest's subtests plugin (9.0 on) counts a test's failed parts, and under which key.

    By this count, in the config's stash under a key without a public name, a test that passed but
    for its parts becomes a failure.
    """
    key = getattr(item.config.pluginmanager.getplugin("subtests"), "failed_subtests_key", None)
    return None if key is None else (item.config.stash[key], getattr(item, "id", item.nodeid))


def count_failed_subtests(item: pytest.Item) -> int:
    """In the child: the count up to now (unittest's parts are not in it)."""
    found = _failed_subtests(item)
    return 0 if found is None else found[0][found[1]]


def take_in_subtest(
    item: pytest.Item, report: pytest.TestReport, data: dict[str, Any], count: object
) -> None:
    """In the parent: the child's count, and the part's arguments as they were.

    Reading a report back writes each argument's text as the text of a text, ``i='1'`` for ``i=1``,
    from pytest 9.1 on; 9.0 has no texts there but the arguments, and writes them when it prints.
    """
    found = _failed_subtests(item)
    if found is not None and isinstance(count, int) and count > 0:
        found[0][found[1]] = count
    said = data.get("_subtest.context")
    arguments = said.get("kwargs") if isinstance(said, dict) else None
    context = getattr(report, "context", None)
    if isinstance(arguments, dict) and hasattr(context, "kwargs"):
        object.__setattr__(context, "kwargs", arguments)  # a frozen dataclass
