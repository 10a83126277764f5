"""Warnings of ours and of children: recorded, never raised, so that ``-W error`` makes no failure
of ours.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable

import pytest

from pytest_isolate._messages import reading
from pytest_isolate._pytest import plugins
from pytest_isolate._sandbox.frames import Frame
from pytest_isolate._session.run import Run
from pytest_isolate._test.states import Finished, reader_of
from pytest_isolate._verdict import rules

_LONGEST_NAME = 100  # of a class, in characters


def warn(item: pytest.Item, text: str) -> None:
    """Record a warning of ours: none is raised, so that ``-W error`` makes no failure of it."""
    _record(item, text, pytest.PytestWarning, (str(item.path), (item.location[1] or 0) + 1, None))


def warn_of_plugins(run: Run, item: pytest.Item) -> None:
    """Say, before a test can hang for it, what of other plugins will not work in it; each is said
    once a run.
    """
    for text in plugins.troubles(item, run.said_of_plugins):
        warn(item, text)


def warn_of_run(config: pytest.Config, texts: Iterable[str]) -> None:
    """Say what of ours went wrong behind the last test."""
    for text in texts:
        message = warnings.WarningMessage(
            text, pytest.PytestWarning, str(config.rootpath), 1, line=""
        )
        config.hook.pytest_warning_recorded.call_historic(
            kwargs={"warning_message": message, "nodeid": "", "when": "config", "location": None}
        )


def replay_warnings(ended: Finished) -> None:
    """Say the child's warnings here."""
    item, reader = ended.test.item, reader_of(ended.test.run, ended.spec)
    for frame in [frame for frame in ended.evidence.process.frames if frame["kind"] == "warning"]:
        filename = str(frame.get("filename"))
        # Else Python reads it from the file, whatever a child said that is
        line = reading.shown_line(filename, reader)
        category, text = _category(frame), str(frame.get("message"))
        if category is None:
            category, text = _named(item.config, str(frame.get("category")), text)
        _record(item, text, category, (filename, frame.get("lineno"), line))
    if ended.evidence.process.left_over and ended.spec.leaks == "warn":
        warn(item, f"isolate: the test {rules.leak_sentence(ended.spec, ended.evidence.process)}")


def _category(frame: Frame) -> type[Warning] | None:
    """Return the class that a child named, if it is one that this process knows: nothing is
    imported for a child.
    """
    found = getattr(sys.modules.get(str(frame.get("module"))), str(frame.get("category")), None)
    return found if isinstance(found, type) and issubclass(found, Warning) else None


def _named(config: pytest.Config, name: str, text: str) -> tuple[type[Warning], str]:
    """Show a warning of a class that is the test's own, such as one within a function: by a class
    of that name, or, where pytest-xdist looks for the class by its name, in the text.
    """
    name = name.rpartition(".")[2]
    if not name.isidentifier() or len(name) > _LONGEST_NAME:
        return UserWarning, text
    if hasattr(config, "workerinput"):
        return UserWarning, f"{name}: {text}"
    return type(name, (UserWarning,), {"__module__": __name__}), text


def _record(
    item: pytest.Item, text: str, category: type[Warning], where: tuple[str, object, str | None]
) -> None:
    filename, lineno, line = where
    message = warnings.WarningMessage(
        text, category, filename, lineno if isinstance(lineno, int) else 1, line=line
    )
    item.ihook.pytest_warning_recorded.call_historic(
        kwargs={
            "warning_message": message,
            "nodeid": item.nodeid,
            "when": "runtest",
            "location": None,
        }
    )
