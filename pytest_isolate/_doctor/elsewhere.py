"""Isolated tests on systems that are not Linux: there is nothing to isolate with, so ``on_missing``
decides between a skip and an error.
"""

from __future__ import annotations

import sys

import pytest

from pytest_isolate._errors import BadValueError
from pytest_isolate._session.run import Run


class Elsewhere:
    """The one hook of a run on another system."""

    def __init__(self, run: Run) -> None:
        self._run = run

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Skip or fail, as asked: pytest itself never runs an isolated test."""
        if not self._run.is_isolated(item):
            return
        try:
            spec = self._run.defaults.spec_of(item)
        except BadValueError as error:
            pytest.fail(str(error), pytrace=False)
        sentence = (
            f"isolate: {sys.platform} has no namespaces, nor what else keeps a test apart on Linux"
            " (pidfds, subreapers, Landlock): run it on Linux, or plain with --isolate-off"
            f" (on_missing={spec.on_missing!r}, set {spec.origin('on_missing')})"
        )
        if spec.on_missing == "skip":
            pytest.skip(sentence)
        pytest.fail(sentence, pytrace=False)
