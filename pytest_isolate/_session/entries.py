"""The entries of a run's isolated tests, and under xdist those of its workers."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_isolate._report.json_report import Entry

_REST = "pytest_isolate_entries"


class Entries:
    """One for each test that has been told of, in that order."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self.own: list[Entry] = []
        # Of xdist's workers, as JSON
        self._foreign: dict[tuple[object, ...], dict[str, object]] = {}

    def __bool__(self) -> bool:
        return bool(self.own or self._foreign)

    def as_json(self) -> list[dict[str, object]]:
        """All entries, in the JSON report's form."""
        return [*(each.as_json() for each in self.own), *self._foreign.values()]

    def take_in(self, report: pytest.TestReport) -> None:
        """Under xdist, in the controller: keep the entry that came with a worker's report."""
        if (text := vars(report).pop("pytest_isolate_entry", None)) is not None:
            self._keep(text, str(report.nodeid))

    def to_controller(self, output: dict[str, object]) -> None:
        """Under xdist, at a worker's end: what went with no report, such as the entry of a test
        that ended the run.
        """
        from pytest_isolate._report import travel  # noqa: PLC0415

        output[_REST] = [travel.pack(each) for each in self.own]

    def from_worker(self, output: Mapping[str, Any]) -> None:
        """Under xdist, in the controller."""
        for text in output.get(_REST, []):
            self._keep(text, "")

    def _keep(self, text: object, nodeid: str) -> None:
        from pytest_isolate._report import travel  # noqa: PLC0415

        try:
            key, entry = travel.unpack(text)
        except ValueError as error:  # a worker on another machine may have another version
            said = pytest.PytestWarning(
                f"isolate: the entry of {nodeid or 'a test'} that a worker sent cannot be read:"
                f" {error}"
            )
            message = warnings.WarningMessage(
                said, pytest.PytestWarning, nodeid.partition("::")[0], 1
            )
            kwargs = {
                "warning_message": message,
                "nodeid": nodeid,
                "when": "runtest",
                "location": None,
            }
            self._config.hook.pytest_warning_recorded.call_historic(kwargs=kwargs)
        else:
            self._foreign[key] = entry
