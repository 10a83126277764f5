"""With ``-v``: the time and the memory of each isolated test, on its line."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from pytest_isolate._config.values import format_duration, format_size

Status = tuple[str, str, Any]  # category, letter, word: as pytest_report_teststatus has it


class Figures:
    """The plugin that shows them."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._told: pytest.TestReport | None = None

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logreport(
        self, report: pytest.TestReport
    ) -> Generator[None, object, object]:
        """Remember which report is told: the words of a status stand in the summary too."""
        self._told = report
        try:
            return (yield)
        finally:
            self._told = None

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_report_teststatus(
        self, report: pytest.CollectReport | pytest.TestReport
    ) -> Generator[None, Status, Status]:
        """Say them behind the word of a test's outcome."""
        status = yield
        is_line = report is self._told and type(report) is pytest.TestReport  # no subtest's
        # Which pytest says on the line, as far as there is room
        has_reason = getattr(report, "skipped", False) or hasattr(report, "wasxfail")
        if not is_line or has_reason or not status[2] or not is_wanted(self._config):
            return status
        assert isinstance(report, pytest.TestReport)
        said, (category, letter, word) = shown(report), status
        if not said:
            return status
        if isinstance(word, tuple):
            return category, letter, (f"{word[0]} ({said})", word[1])
        return category, letter, f"{word} ({said})"


def is_wanted(config: pytest.Config) -> bool:
    """Whether each test has a line."""
    return bool(config.get_verbosity(pytest.Config.VERBOSITY_TEST_CASES) > 0)


def shown(report: pytest.TestReport) -> str:
    """Write a report's figures for people; nothing where it has none."""
    # A test may have recorded some of the same name: ours are behind them
    figures = {name: value for name, value in report.user_properties if isinstance(name, str)}
    wall, memory = (
        figures.get(f"isolate.{name}") for name in ("wall_seconds", "memory_peak_bytes")
    )
    said = [format_duration(wall)] if isinstance(wall, int | float) else []
    if isinstance(memory, int):
        said.append(format_size(memory))
    return ", ".join(said) if "isolate.verdict" in figures else ""
