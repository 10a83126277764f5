"""Isolated tests on systems that are not Linux: there is nothing to isolate with, so ``on_missing`` decides."""

from __future__ import annotations

import sys
import warnings

import pytest

from pytest_isolate._run import Run
from pytest_isolate._spec import BadValueError


class Elsewhere:
    """The one hook of a run on another system."""

    def __init__(self, run: Run) -> None:
        self._run = run

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Skip, fail or warn, as asked."""
        if not self._run.is_isolated(item):
            return
        try:
            spec = self._run.defaults.spec_of(item)
        except BadValueError as error:
            pytest.fail(str(error), pytrace=False)
        sentence = (
            f"isolate: {sys.platform} has no namespaces, run the test on Linux "
            f"(on_missing={spec.on_missing!r}, set {spec.origin('on_missing')})"
        )
        if spec.on_missing == "skip":
            pytest.skip(sentence)
        if spec.on_missing == "error":
            pytest.fail(sentence, pytrace=False)
        warnings.warn(pytest.PytestWarning(f"{sentence}: the test runs without isolation"), stacklevel=1)
