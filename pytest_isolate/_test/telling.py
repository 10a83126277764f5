"""What a run says of itself: a line when it has collected, how many tests were isolated at its end,
or that none was.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any

import pytest

from pytest_isolate._config import settings
from pytest_isolate._config.keywords import KEYWORDS
from pytest_isolate._config.settings import IN_BUNDLE
from pytest_isolate._session.run import Run

_SILENT = -2  # -qq


def telling(config: pytest.Config, run: Run | None) -> object:
    """Return the plugin that says it. ``run``: None where isolation is off or no test body runs."""
    return Off(config) if config.getoption("isolate_off") else Telling(config, run)


class Off:
    """Marked tests run as plain tests: said first and last, also with -q."""

    def __init__(self, config: pytest.Config) -> None:
        self._in_bundle = IN_BUNDLE in os.environ
        self._why = (
            "--isolate-off"
            if "--isolate-off" in settings.typed(config)
            else f"isolate_off in {settings.place(config)}"
        )

    def pytest_report_header(self) -> str:
        """In the header."""
        if self._in_bundle:
            return "isolate: in a bundle, where the container is the test's sandbox"
        return f"isolate: off ({self._why}), marked tests run as plain tests"

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        """In the last line, behind pytest's own."""
        result = yield
        reporter: pytest.TerminalReporter | None = session.config.pluginmanager.get_plugin(
            "terminalreporter"
        )
        tells = not (self._in_bundle or session.config.option.collectonly)
        if reporter is not None and tells:
            reporter.write_line(f"isolate: off ({self._why}), nothing was isolated", yellow=True)
        return result


class Telling:
    """Everything else that is said of a run as a whole."""

    def __init__(self, config: pytest.Config, run: Run | None) -> None:
        self._config = config
        self._run = run
        self._session: pytest.Session | None = None  # that collected

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Know how many tests there are, for a run that stops before its end."""
        self._session = session

    def pytest_report_header(self) -> str | None:
        """Of xdist's workers, which do not show what they collect, what is known before."""
        said = [*_jobs(self._config), *_shells(self._config)]
        if not _has_workers(self._config) or self._run is None:
            return None
        said = ["every test", *said] if self._run.all else said
        return f"isolate: {'; '.join(said)}" if said else None

    def pytest_report_collectionfinish(self, items: Sequence[pytest.Item]) -> str | None:
        """How many tests are isolated, where this is, and what cannot be had here."""
        run = self._run
        if (
            run is None
            or self._config.get_verbosity() < 0
            or not (isolated := [item for item in items if run.is_isolated(item)])
        ):
            return None
        return "isolate: " + "; ".join(
            [
                f"{len(isolated)} of {len(items)} tests",
                *_machine(),
                *_jobs(self._config),
                *_held_up(run, isolated),
                *_shells(self._config),
            ]
        )

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: Sequence[pytest.Item]) -> None:
        """Before anything is deselected: a rule for a test that is not there.

        Where pytest collects parts of files, nobody can know.
        """
        parts = any("::" in arg for arg in self._config.args) or self._config.getoption("lf", False)
        if self._run is not None and not parts and _is_first(self._config):
            for text in self._run.unmatched_rules(items):
                _warn(self._config, text, str(self._config.rootpath / "pyproject.toml"))

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """How many tests were isolated; that none was, if options were typed for it."""
        run = self._run
        if run is None or self._config.get_verbosity() <= _SILENT:
            return
        ran = {str(report.nodeid) for report in _reports(terminalreporter)}
        entries = run.entries.as_json()
        isolated = {each["nodeid"] for each in entries if each["usage"]["wall_seconds"] is not None}  # type: ignore[index]
        if entries:
            # For runs with isolated tests
            from pytest_isolate._report.unbuilt import is_bare  # noqa: PLC0415

            bare = sum(map(is_bare, entries))
            without = f", {bare} of them without namespaces" if bare else ""
            session, total = self._session, len(ran | isolated)
            if session is not None and (left := session.testscollected - total) > 0:
                total += left
                without += f", {left} did not run"
            terminalreporter.write_line(
                f"isolate: {len(isolated)} of {total} tests isolated{without}",
                yellow=bool(bare),
            )
            for option, other in settings.without_partner(self._config):
                terminalreporter.write_line(
                    f"isolate: {option} does nothing without {other}", yellow=True
                )
        elif ran and (
            typed := [
                each.partition("=")[0]
                for each in settings.typed(self._config)
                if each.startswith("--isolate-")
            ]
        ):
            options = ", ".join(dict.fromkeys(typed))
            why = (
                f"no test of this run is marked, and {options} alone isolates none (--isolate-all:"
                " every test)"
            )
            terminalreporter.write_line(f"isolate: nothing was isolated: {why}", yellow=True)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Name what pytest ignores: not before, because it imports an ``__init__`` when the first
        test below is set up.
        """
        if _is_first(self._config):
            for file in _ignored(self._config):
                _warn(self._config, _ignored_mark(self._config, file), file)


def _is_first(config: pytest.Config) -> bool:
    """Whether to say what xdist's workers all see."""
    return bool(getattr(config, "workerinput", {}).get("workerid", "gw0") == "gw0")


def _has_workers(config: pytest.Config) -> bool:
    return config.getoption("dist", "no") != "no" and not hasattr(config, "workerinput")


def _jobs(config: pytest.Config) -> list[str]:
    """How many at a time, where somebody asked."""
    asked = config.getoption("isolate_jobs")
    if asked == "1" or sys.platform != "linux":
        return []
    from pytest_isolate._test import scheduler  # noqa: PLC0415 - knows the kernel

    if _has_workers(config):
        return [f"one test at a time in each worker of pytest-xdist, not --isolate-jobs={asked}"]
    if (option := settings.why_one(config)) is not None:
        return [
            (
                f"one test at a time, not --isolate-jobs={asked}: with {option} tests talk to the"
                " terminal"
            )
        ]
    return [f"up to {scheduler.jobs_of(config)} tests at a time"]


def _held_up(run: Run, isolated: Sequence[pytest.Item]) -> Iterator[str]:
    """How many of them, of several at a time, wait for all before them."""
    config = run.config
    if (
        config.getoption("isolate_jobs") == "1"
        or sys.platform != "linux"
        or _has_workers(config)
        or settings.why_one(config)
    ):
        return
    deciders = [found for item in isolated if (found := run.played.deciders(item))]
    if deciders:
        who = ", ".join(sorted({name for found in deciders for name in found}))
        yield (
            f"{len(deciders)} of them one at a time, for hooks ({who}) may decide by how the tests"
            " before ended"
        )


def _shells(config: pytest.Config) -> Iterator[str]:
    """Why there will be none, where an ini file asks for them."""
    if config.getoption("isolate_shell"):
        from pytest_isolate._test import shells  # noqa: PLC0415 - for those who ask

        if (why := shells.obstacle(config)) is not None:
            yield f"isolate_shell is left out: {why}"


def _machine() -> Iterator[str]:
    """Where this is, and which limits cannot be had: without a sandbox, from what the kernel shows
    of its control groups.
    """
    if sys.platform != "linux":
        yield (
            f"isolated tests need Linux, and this is {sys.platform}: they are skipped, or errors"
            " with on_missing='error' and 'warn'; --isolate-off runs them plain"
        )
        return
    from pytest_isolate._linux import host  # noqa: PLC0415 - knows the kernel
    from pytest_isolate._linux.mounts import MountTable  # noqa: PLC0415

    try:
        table = MountTable()
        try:
            found = host.look(table.visible())
        finally:
            table.close()
    except OSError:  # the first isolated test says what cannot be read
        return
    yield str(found.here)
    if lacking := [name for name in KEYWORDS if name in found.obstacles]:
        yield f"no limits of {', '.join(lacking)} (--isolate-doctor says why)"


def _reports(reporter: pytest.TerminalReporter) -> Iterator[pytest.TestReport]:
    for reports in reporter.stats.values():
        yield from (each for each in reports if isinstance(each, pytest.TestReport))


def _ignored(config: pytest.Config) -> Iterable[str]:
    """Conftests and ``__init__`` files whose ``pytestmark`` would isolate, if pytest
    read it there.
    """
    modules: list[Any] = [*config.pluginmanager.get_plugins(), *sys.modules.values()]
    marked = {
        vars(each).get("__file__")
        for each in modules
        if hasattr(each, "__dict__") and _isolates(vars(each).get("pytestmark"))
    }
    return sorted(
        file
        for file in marked
        if isinstance(file, str) and os.path.basename(file) in {"conftest.py", "__init__.py"}
    )


def _isolates(marks: object) -> bool:
    return any(
        getattr(each, "name", None) == "isolate"
        for each in (marks if isinstance(marks, list | tuple) else [marks])
        if each is not None
    )


def _ignored_mark(config: pytest.Config, file: str) -> str:
    folder = os.path.relpath(os.path.dirname(file), config.rootpath)
    tests = "**" if folder == "." else f"{folder}/**"
    return (
        f"pytest ignores the pytestmark of {os.path.relpath(file, config.rootpath)}, so it isolates"
        " nothing: "
        f'write [[tool.pytest_isolate.rules]] with tests = "{tests}" into pyproject.toml'
    )


def _warn(config: pytest.Config, text: str, file: str) -> None:
    """Record a warning, never raise it: with -W error a hook that raises would end the run in
    INTERNALERROR.
    """
    message = warnings.WarningMessage(
        pytest.PytestWarning(f"isolate: {text}"), pytest.PytestWarning, file, 1
    )
    kwargs = {"warning_message": message, "nodeid": "", "when": "collect", "location": None}
    config.hook.pytest_warning_recorded.call_historic(kwargs=kwargs)
