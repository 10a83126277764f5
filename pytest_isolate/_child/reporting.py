"""What a child says to pytest of its test: frames, warnings, reports, each with what was denied up
to there.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING

import pytest

from pytest_isolate._child.denials import Denials, is_refused
from pytest_isolate._child.words import (
    LARGEST_TEXT,
    MOST_LOST,
    is_plain,
    plain,
    shortened,
    text_of,
    told,
)
from pytest_isolate._config.patterns import Paths
from pytest_isolate._messages import carried
from pytest_isolate._pytest import capture, serialization
from pytest_isolate._sandbox.frames import Frame, Writer
from pytest_isolate._sandbox.mirror import Mirror
from pytest_isolate._verdict import file_changes
from pytest_isolate._verdict.network_attempts import Recorder

if TYPE_CHECKING:
    from pytest_isolate._network.statistics import Meter

_exit = os._exit  # bound before a test can replace it
_SMALLEST_TEXT = 1 << 10


class Line:
    """The pipe of frames."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer

    def send(self, frame: Frame) -> None:
        """Send a frame."""
        try:
            self.writer.send(frame)
        except ValueError as error:  # too large: say so rather than lose the test
            self.writer.send({"kind": "oversized", "message": str(error)})

    def send_warning(
        self, warning_message: warnings.WarningMessage, when: str, nodeid: str, location: object
    ) -> None:
        """Forward a warning as text and names; the parent never makes an object of a class that it
        does not know.
        """
        category = warning_message.category
        self.send({
            "kind": "warning",
            "message": shortened(text_of(warning_message.message), LARGEST_TEXT >> 4),
            "module": category.__module__,
            "category": category.__qualname__, "filename": warning_message.filename,
            "lineno": warning_message.lineno,
            "when": when, "nodeid": nodeid, "location": plain(location),
        })  # fmt: skip

    def warn(self, item: pytest.Item, text: str, category: type[Warning]) -> None:
        """Send a warning of ours."""
        line = (item.location[1] or 0) + 1
        message = warnings.WarningMessage(text, category, str(item.path), line)
        self.send_warning(message, "runtest", item.nodeid, None)


_MOST_SECTIONS = 9  # of one attempt: three of each phase


class Reporting:
    """Reports on their way to pytest."""

    def __init__(self, line: Line, denials: Denials) -> None:
        self._line, self._denials = line, denials
        self.attempts: Recorder | None = None  # on a network of its own
        self.writes: file_changes.Recorder | None = None  # where it may not write everywhere
        self.mirrors: Mapping[str, Mirror] = {}  # of what this process keeps in its memory
        self.is_kept_back = False  # whether a plugin keeps reports of this attempt until it is over
        # Whether hooks in pytest want to know what was raised, and what JSON cannot say
        self.tells_raised = self.tells_unsaid = False
        self.own_stop: object = False  # the session's ``shouldfail`` as --maxfail made it in here
        self._raised_in: tuple[str, Frame] | None = None  # a phase, and what it raised
        self._told_tmp_path = False

    def listen(self, root: str, allowed: Paths | None, *, has_network: bool) -> None:
        """Note who tries to leave a network of the test's own, and who writes where it may not."""
        if has_network:
            self.attempts = attempts = Recorder(root)
            attempts.tell_tries = lambda port: self._line.send({"kind": "tries", "port": port})
        if allowed is not None:
            self.writes = file_changes.Recorder(root, allowed)

    def tell_phase(self, item: pytest.Item, when: str) -> None:
        """Tell what was said so far, where no report of the phase before has done that."""
        if not self.is_kept_back:
            return
        said = capture.report_sections(item)
        sections = [
            (f"Captured {kind} {phase}", shortened(text, LARGEST_TEXT >> 4))
            for phase, kind, text in said[-_MOST_SECTIONS:]
        ]
        self._line.send({"kind": "phase", "when": when, "sections": sections})

    def tell_tmp_path(self, path: object) -> None:
        """Tell where the test's ``tmp_path`` is, once."""
        if not self._told_tmp_path:
            self._told_tmp_path = True
            self._line.send({"kind": "tmp_path", "path": str(path)})

    def begin_anew(self) -> None:
        """Forget what an earlier test was denied."""
        self._told_tmp_path = False
        self._denials.begin_anew()
        if self.attempts is not None:
            self.attempts.clear()
        if self.writes is not None:
            self.writes.clear()

    def forward(self, item: pytest.Item, report: pytest.TestReport) -> None:
        """Forward a report with what was denied up to here.

        What fails in here is ours, and no internal error of pytest's.
        """
        try:
            self._forward(item, report)
        except Exception as error:  # noqa: BLE001 - whatever a test replaced or closed that is needed here
            try:
                self._line.writer.send(
                    {"kind": "lost", "message": f"{type(error).__name__}: {error}"}
                )
            finally:
                _exit(1)

    def _forward(self, item: pytest.Item, report: pytest.TestReport) -> None:
        longest = LARGEST_TEXT
        sections = list(report.sections) if isinstance(report, pytest.TestReport) else []
        self._denials.look()
        if self.attempts is not None and (attempts := self.attempts.as_json()):
            self._line.send({"kind": "network", "attempts": attempts})
        if self.writes is not None and (places := self.writes.take()):
            self._line.send({"kind": "writes", "when": report.when, "places": places})
        while True:
            report.sections = [(name, shortened(text, longest)) for name, text in sections]
            try:
                self._line.writer.send(self._frame(item, report))
                break
            except ValueError as error:
                # Too large: text that JSON escapes is up to twelve times as long
                longest //= 2
                if longest < _SMALLEST_TEXT:
                    self._line.writer.send({"kind": "oversized", "message": str(error)})
                    break
                # A comparison of megabytes is in it
                if isinstance(report, pytest.TestReport) and report.failed:
                    report.longrepr = shortened(report.longreprtext, longest)
        session = item.session
        if type(report) is pytest.TestReport:
            self.is_kept_back = False
        if (log := self.mirrors.get("log")) is not None and type(report) is pytest.TestReport:
            log.clear()  # it is in the report
        if not session.shouldfail:
            # Counts failures for --maxfail, which ends a test between two subtests
            session.pytest_runtest_logreport(report)
            self.own_stop = session.shouldfail

    def _frame(self, item: pytest.Item, report: pytest.TestReport) -> Frame:
        data = item.config.hook.pytest_report_to_serializable(config=item.config, report=report)
        when = getattr(report, "when", None)
        frame: Frame = {
            "kind": "report",
            "when": when,
            "report": plain(data),
            "seen": sorted(self._denials.seen),
            **carried.beside(report),
        }
        if self.tells_unsaid:
            frame["unsaid"] = sorted(
                str(name) for name, value in data.items() if not is_plain(value)
            )[:MOST_LOST]
        if hasattr(report.longrepr, "toterminal") and isinstance(data.get("longrepr"), str):
            # An item's own way to show a failure, which serializes as its text
            frame["drawn"] = True
        if self._raised_in is not None and self._raised_in[0] == when:
            frame["raised"] = self._raised_in[1]
        if type(report) is not pytest.TestReport:
            frame["failed_subtests"] = serialization.count_failed_subtests(item)
        return frame

    def see_call(self, call: pytest.CallInfo[None]) -> None:
        """Look for a denial in what a phase raised, as the hooks left it."""
        self._raised_in = None
        if call.excinfo is not None:
            if self.tells_raised:
                self._raised_in = call.when, told(call.excinfo.value)
            if self.attempts is not None and is_refused(call.excinfo.value):
                if self.attempts.refused_port is not None:
                    self._line.send({"kind": "refused", "port": self.attempts.refused_port})
                elif self.attempts.refused_path is not None:
                    self._line.send({"kind": "refused_path", "path": self.attempts.refused_path})
            self._denials.see(call.excinfo.value)


def meter_of_links() -> Meter:
    """Begin to count what passes on the links of a network of hosts."""
    # For those who have one
    from pytest_isolate._network import building, statistics  # noqa: PLC0415

    built = building.built()
    assert built is not None
    return statistics.Meter(built)
