"""What one run reports: where to, checked at its start; what it has learned; what is written and
said at its end.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_isolate._config import settings
from pytest_isolate._config.values import counted, plain
from pytest_isolate._report.files import (
    check_directory,
    check_no_other,
    check_writable,
    write_whole,
)
from pytest_isolate._report.formats import FORMATS, Format, Json, Told, option_name

if TYPE_CHECKING:
    from pytest_isolate._model import Usage
    from pytest_isolate._report.budget_file import Budgets
    from pytest_isolate._violations import BudgetExceeded

_VANISHED, _BUNDLES = "pytest_isolate_vanished", "pytest_isolate_bundles"
_STRICT = "[XPASS(strict)]"  # pytest's own words for a test that passed against a strict xfail


class Reporting:
    """The report side of one pytest process.

    Raises ``pytest.UsageError`` for what cannot be written or read.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        wanted = ((each, config.getoption(option_name(each))) for each in FORMATS)
        self._wanted: list[tuple[Format, str]] = [
            (each, path) for each, path in wanted if path is not None
        ]
        self.top = _count(config)
        self._budget_path: str | None = config.getoption("isolate_budgets")
        self._updates = bool(config.getoption("isolate_update_budgets"))
        self._gone: list[str] = []  # lines of tests that are no more
        self._written: str | None = None
        self._files: list[str] = []  # what was written, for people
        self._unwritten: list[str] = []  # sentences
        self._begun = time.time(), time.monotonic()
        # Of pytest-xdist: its controller writes, perhaps on another machine
        self._is_worker = hasattr(config, "workerinput")
        self._check_apart()
        for each, path in () if self._is_worker else self._wanted:
            option = settings.written(config, option_name(each))
            check_writable(option, path)
            check_no_other(option, path, each.words, each.sign)
            each.check(path)
        if not self._is_worker:
            self._check_directories()
        self.bundles: list[str] = []  # that tests have left (--isolate-oci)
        self.budgets = self._read_budgets()

    def _check_directories(self) -> None:
        config = self._config
        if (oci := config.getoption("isolate_oci")) is not None:
            option = settings.written(config, "isolate_oci")
            check_directory(option, oci, config.invocation_params.dir)
        if config.getoption("isolate_keep") != "none":
            artifacts = config.getoption("isolate_artifacts")
            option = settings.written(config, "isolate_artifacts")
            check_directory(option, artifacts, config.rootpath)

    def _check_apart(self) -> None:
        """Refuse one file for two reports: the last would be all that is left."""
        named: dict[str, str] = {}
        names = [option_name(each) for each, _ in self._wanted]
        for name in [*names, *(["isolate_budgets"] if self._updates else ())]:
            path, option = self._config.getoption(name), settings.written(self._config, name)
            if path is None or (os.path.exists(path) and not os.path.isfile(path)):
                continue  # such as /dev/stdout, which takes several
            if (other := named.setdefault(os.path.realpath(path), option)) != option:
                raise pytest.UsageError(
                    f"{option}={path}: {other} writes the same file: give each a file of its own"
                )

    def _read_budgets(self) -> Budgets | None:
        path, option = self._budget_path, settings.written(self._config, "isolate_budgets")
        if path is None:
            if self._updates:
                update = settings.written(self._config, "isolate_update_budgets")
                raise pytest.UsageError(
                    f"{update} needs --isolate-budgets=PATH, the file to write, such as"
                    " budgets.toml"
                )
            return None
        # A TOML parser, for those who have budgets
        from pytest_isolate._report import budget_file  # noqa: PLC0415

        if self._updates and not self._is_worker:
            check_writable(option, path)
        try:
            return budget_file.parse(path, Path(path).read_text("utf-8-sig"))
        except FileNotFoundError:
            if self._updates:
                return budget_file.parse(path, "")
            raise pytest.UsageError(
                f"{option}={path}: there is no such file; write it with: pytest"
                f" --isolate-budgets={path} --isolate-update-budgets"
            ) from None
        except UnicodeDecodeError as error:
            raise pytest.UsageError(f"{option}={path}: this is no UTF-8 text: {error}") from None
        except OSError as error:
            raise pytest.UsageError(
                f"{option}={path}: it cannot be read: {error.strerror}"
            ) from None
        except budget_file.BudgetFileError as error:
            raise pytest.UsageError(f"{option}: {error}") from None

    def collected(self, session: pytest.Session) -> None:
        """See all tests, before any is deselected: which lines of the budget file have none."""
        if self.budgets is None:
            return
        from pytest_isolate._report import budgets  # noqa: PLC0415

        config = session.config
        whole_files = not (
            session.testsfailed
            or config.getoption("lf", False)
            or any("::" in arg for arg in config.args)
        )
        files = {name.split("::", 1)[0] for name in self.budgets.lines}
        existing = {file for file in files if (config.rootpath / file).exists()}
        self._gone = budgets.vanished(
            self.budgets,
            [str(item.nodeid) for item in session.items],
            existing,
            whole_files=whole_files,
        )

    def over_budget(
        self, nodeid: str, usage: Usage, reports: list[pytest.TestReport]
    ) -> list[BudgetExceeded]:
        """Find a passing test's budgets that it overstepped.

        Who failed or was skipped did not do all its work: nothing to compare.
        """
        if (
            self.budgets is None
            or self._updates
            or not all(_did_its_work(report) for report in reports)
        ):
            return []
        from pytest_isolate._report import budgets  # noqa: PLC0415

        return budgets.exceeded(self.budgets, nodeid, vars(usage), "call")

    def to_controller(self, output: dict[str, object]) -> None:
        """Under xdist: what a worker knows and its controller does not."""
        output[_VANISHED], output[_BUNDLES] = self._gone, self.bundles

    def from_worker(self, output: Mapping[str, Any]) -> None:
        """Under xdist, in the controller.

        Workers collect the same tests, so that any one's word of these is everybody's.
        """
        self.bundles += output.get(_BUNDLES, [])
        self._gone = list(output.get(_VANISHED, self._gone))

    def write(self, entries: list[Json], capabilities: Callable[[], Json]) -> bool:
        """Write what was asked for.

        Gives whether all of it could be; what could not is said by ``summarize``.
        """
        told = Told(capabilities() if self._wanted else {}, entries, self._about)
        for each, path in self._wanted:
            if self._try(each.option, path, each.text(told)):
                self._files.append(f"generated {each.words}: {Path(path).resolve()}")
        if self.budgets is not None and self._updates:
            from pytest_isolate._report import budget_file, budgets  # noqa: PLC0415

            fresh = budgets.updated(self.budgets, _passed(entries), self._gone)
            if self._try("--isolate-budgets", self.budgets.path, budget_file.render(fresh)):
                gone = counted(len(self._gone), "line")
                left = f"; {gone} of tests that are gone left out" if self._gone else ""
                self._written = (
                    f"budgets: {counted(len(fresh.lines), 'line')} written to {fresh.path}{left}"
                )
        return not self._unwritten

    def _about(self) -> Json:
        from pytest_isolate._report import about  # noqa: PLC0415 - for those who want it

        started, clock = self._begun
        return about.about(self._config, started, time.monotonic() - clock)

    def _try(self, option: str, path: str, text: str) -> bool:
        """Write, though what could be at the start may have changed: a full disk must not cost the
        other reports and the terminal's.
        """
        try:
            write_whole(path, text)
        except OSError as error:
            self._unwritten.append(
                f"{option}={path}: it could not be written: {error.strerror}; what was there before"
                " is as it was"
            )
            return False
        return True

    def summarize(self, entries: list[Json], reporter: pytest.TerminalReporter) -> None:
        """Say it in the terminal, and to GitHub where it listens."""
        if self._config.get_verbosity() >= 0:  # as pytest says of --junitxml
            for each in self._files:
                reporter.write_sep("-", plain(each))
            if self.bundles:
                first, count = self.bundles[0], counted(len(self.bundles), "bundle")
                reporter.write_sep("-", plain(f"generated {count}: {os.path.dirname(first)}"))
                reporter.write_line(plain(f"to run the first one: {command(first)} (or runc)"))
        if not entries and self.budgets is None and not self._unwritten:
            return  # a run without isolated tests pays for nothing
        from pytest_isolate._report import github, terminal  # noqa: PLC0415

        comparison = None
        if self.budgets is not None and not self._updates:
            from pytest_isolate._report import budgets  # noqa: PLC0415

            comparison = budgets.compare(self.budgets, _passed(entries), self._gone)
        unwritten = [
            terminal.Text(plain(each), {"red": True, "bold": True}) for each in self._unwritten
        ]
        width, durations = _width(self._config), _durations(self._config)
        said = terminal.lines(
            entries, comparison, self._written, self.top, width, durations=durations
        )
        terminal.show(reporter, self._config, [*unwritten, *said])
        if os.environ.get("GITHUB_ACTIONS") == "true":
            github.tell(reporter, entries, self._config.rootpath)


def command(bundle: str) -> str:
    """Give what a person types to run a bundle; the last word is the container's name, any."""
    return f"crun run -b {shlex.quote(bundle)} isolated"


def _durations(config: pytest.Config) -> tuple[int, float] | None:
    """Return what pytest's own section of the slowest tests has: how many, and from how many
    seconds on; None without one.
    """
    most, least = config.getoption("durations", None), config.getoption("durations_min", None)
    if most is None:
        return None
    if least is None:  # as pytest has it, since 8.4
        least = 0.0 if config.get_verbosity() >= 2 else 0.005
    return int(most), float(least)


def _width(config: pytest.Config) -> int:
    return int(config.get_terminal_writer().fullwidth)


def _count(config: pytest.Config) -> int:
    value: str | None = config.getoption("isolate_top")
    if value is None:
        return 0
    if not value.isdecimal() or int(value) < 1:
        option = settings.written(config, "isolate_top")
        raise pytest.UsageError(
            f"{option}={value}: it must be a whole number, at least 1: how many tests the table has"
        )
    return int(value)


def _did_its_work(report: pytest.TestReport) -> bool:
    return report.passed or (
        report.failed and report.when == "call" and str(report.longrepr).startswith(_STRICT)
    )


def _passed(entries: list[Json]) -> dict[str, Json]:
    """Collect the usage of the tests that passed, inside: what budgets are made of."""
    return {
        each["nodeid"]: each["usage"]
        for each in entries
        if each["outcome"] in {"passed", "xpassed"}
        and any(figure is not None for figure in each["usage"].values())
    }
