"""In a test's process: whether a debugger has somebody to talk to."""

from __future__ import annotations

import pytest

from pytest_isolate._pytest import capture


def refuse_without_person(config: pytest.Config, *, debuggable: bool) -> None:
    """Fail a test whose debugger would read the end of its input, or may not stop the clock."""
    if not debuggable:
        pytest.fail(
            "isolate: a test of profile='strict' has no debugger, for it would stop the clock"
            " of its timeout",
            pytrace=False,
        )
    if not capture.has_terminal(config):
        pytest.fail(
            "isolate: breakpoint() in an isolated test needs a terminal, and the standard input"
            " of this pytest is none: run it in a terminal, or plain with --isolate-off",
            pytrace=False,
        )
