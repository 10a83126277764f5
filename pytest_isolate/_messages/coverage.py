"""Coverage of isolated tests: measured in the child, told in frames, added to pytest's own
measurement.

The fork copies a running tracer, which goes on in the child as if nothing had happened. Only its
store is changed: the parent's is a file whose descriptor the child does not have and whose
directory it may not write. What the child measured, and what its sub-processes left beside the data
file in the throw-away overlay, travels as JSON: names and numbers, checked by the parent and added
through ``CoverageData``'s public methods. The parent never opens a data file that a child wrote.

Every use of what coverage.py does not promise is in this module, each with its reason. Tested on
coverage.py 7.6, 7.10 and 7.17 (pytest-cov 6.0 and 7.1). coverage.py is never imported here: who
measures has imported it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pytest_isolate._sandbox.frames import Frame, GarbledError

_MOST_NUMBERS = 100_000  # lines or arcs in one frame: 1.5 MB of JSON, far below the largest frame
_HIGHEST_LINE = 1 << 20
# Of the highest lines of all files: coverage.py stores lines as bits, so one high line costs as
# much as all below it
_HIGHEST_SUM = 1 << 26
_LONGEST_NAME = 1 << 16  # characters of a context or a path

Warn = Callable[[str, type[Warning]], None]


def measuring(is_private: Callable[[str], bool]) -> Measuring | None:
    """Return the measurement that runs in this process, or ``None``.

    ``is_private``: whether a path's files are the sandbox's own.
    """
    module = sys.modules.get("coverage")
    current = getattr(getattr(module, "Coverage", None), "current", None)
    coverage = None if current is None else current()
    return (
        None
        if coverage is None or coverage._collector is None
        else Measuring(module, coverage, is_private)
    )


class Measuring:
    """A running measurement: made in the parent just before a fork, and of use on both
    sides of it.
    """

    def __init__(self, module: Any, coverage: Any, is_private: Callable[[str], bool]) -> None:  # noqa: ANN401 - need not be installed
        self._module = module
        self._coverage = coverage
        # Coverage.get_data() is the public way to the store; it also walks through all source
        # files, at every call.
        self._store = coverage._collector.covdata
        # set_context() returns it, but only since 7.16
        self._context: str | None = self._store._current_context
        # Files that are written to the machine (fs="host") are there for whoever combines them at
        # the end of the run.
        self._own_files = is_private(self.data_file)
        self._there = frozenset(self._data_files()) if self._own_files else frozenset()

    @property
    def data_file(self) -> str:
        """What the names of all data files begin with."""
        return os.path.realpath(str(self._store.base_filename()))

    @property
    def owns_files(self) -> bool:
        """Whether what processes of a test write beside the data file is the sandbox's own."""
        return self._own_files

    @property
    def context(self) -> str | None:
        """Of what is measured now, which a test's process begins with."""
        found: str | None = self._store._current_context
        return found

    @property
    def begins_anew(self) -> bool:
        """Whether coverage.py replaces the measurement in every fork: ``[run] patch = fork``, since
        7.10.
        """
        return "fork" in (getattr(self._coverage.config, "patch", None) or ())

    def again(self, *, owns_files: bool) -> Measuring:
        """Begin the same in a fork, for a test that begins there now."""
        return Measuring(self._module, self._coverage, lambda _: owns_files)

    def begin(self) -> None:
        """In the child: go on measuring, into an empty store in memory."""
        self._undo_patch()
        self._start_anew(self._context)

    def _start_anew(self, context: str | None) -> None:
        collector = self._coverage._collector
        # A further measurement inside (a test of coverage's own kind) pauses and resumes this one
        # only if it is of the same process.
        collector.pid = os.getpid()
        # What the parent has seen and not yet stored is the parent's to store. The sets are emptied
        # in place, as coverage.py itself does it, because frames that are running hold them.
        for seen in collector.data.copy().values():
            seen.clear()
        # There is no public way to change the store of a running measurement. The parent's stays
        # referred to by this object: collected, SQLite would close descriptor numbers that are
        # somebody else's by now.
        store = self._module.CoverageData(basename=self._store.base_filename(), no_disk=True)
        collector.covdata = self._coverage._data = store
        store.set_context(context)

    def _undo_patch(self) -> None:
        """Coverage.py's ``[run] patch = fork`` has replaced the measurement at our fork; pytest-cov
        only speaks to the one before.
        """
        current = self._module.Coverage.current()
        if current is self._coverage:
            return
        if current is not None:
            current._auto_save = False
            current.stop()
        # Coverage.start() would apply the patches a second time.
        self._coverage._collector.start()
        self._coverage._started = True
        self._coverage._instances.append(self._coverage)

    def tell(self, send: Callable[[Frame], None], warn: Warn) -> None:
        """In the child, at the end of a test: tell everything measured by this process and by those
        that it started.
        """
        collector = self._coverage._collector
        # Coverage.get_data() would walk through all source files and warn of those never imported
        collector.flush_data()
        branches = bool(self._coverage.get_option("run:branch"))
        store = collector.covdata
        for frame in _frames(store, branches=branches):
            send(frame)
        self._start_anew(store._current_context)
        found = set(self._data_files()) - self._there if self._own_files else set()
        self._there |= found
        for path in sorted(found):
            data = self._module.CoverageData(basename=path)
            try:
                data.read()
                differs = bool(data.measured_files()) and data.has_arcs() != branches
                for frame in () if differs else _frames(data, branches=branches):
                    send(frame)
            except self._module.CoverageException as error:
                # As in a plain run: a process that was killed while it wrote
                warn(str(error), self._warning)
            else:
                if differs:
                    warn(
                        f"Data file {path!r} and this run differ in whether they measure branches",
                        self._warning,
                    )

    @property
    def _warning(self) -> type[Warning]:
        found: type[Warning] = sys.modules["coverage.exceptions"].CoverageWarning
        return found

    def add(self, measured: list[Measured]) -> None:
        """In the parent: take in what ``read`` has checked.

        Raises ``GarbledError`` for what no measurement of ours would contain.
        """
        if (
            sum(max(lines, default=0) for each in measured for lines in each.lines.values())
            > _HIGHEST_SUM
        ):
            raise GarbledError("a measurement of coverage is too large")
        branches = bool(self._coverage.get_option("run:branch"))
        context = self._store._current_context
        try:
            for each in measured:
                if each.branches != branches:
                    raise GarbledError("a measurement of coverage mixes lines and branches")
                self._store.set_context(each.context)
                if branches:
                    self._store.add_arcs(each.arcs)
                else:
                    self._store.add_lines(each.lines)
                self._store.touch_files(list(each.arcs if branches else each.lines))
                self._store.add_file_tracers(each.tracers)
        except self._module.CoverageException as error:
            raise GarbledError(f"a measurement of coverage does not fit: {error}") from error
        finally:
            self._store.set_context(context)

    def _data_files(self) -> list[str]:
        """Paths of the data files that processes of this run have written so far: named after the
        configured one.
        """
        directory, name = os.path.split(self._store.base_filename())
        try:
            names = os.listdir(directory)
        except OSError:  # a test may have removed it, inside
            return []
        return [
            f"{directory}/{each}"
            for each in names
            if each.startswith(f"{name}.") and not each.endswith("-journal")
        ]


@dataclass
class Measured:
    """One frame's content, checked."""

    context: str
    branches: bool
    lines: dict[str, list[int]] = field(default_factory=dict)
    arcs: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    tracers: dict[str, str] = field(default_factory=dict)


def _frames(data: Any, *, branches: bool) -> Iterator[Frame]:  # noqa: ANN401 - see above
    files, numbers = {}, 0
    for context in sorted(data.measured_contexts()):
        data.set_query_context(context)
        for name in sorted(data.measured_files()):
            seen = sorted((data.arcs(name) if branches else data.lines(name)) or ())
            for start in range(0, max(1, len(seen)), _MOST_NUMBERS):
                part = seen[start : start + _MOST_NUMBERS]
                files[name] = {"seen": part, "tracer": data.file_tracer(name) or ""}
                numbers += len(part)
                if numbers >= _MOST_NUMBERS:
                    yield {
                        "kind": "coverage",
                        "context": context,
                        "branches": branches,
                        "files": files,
                    }
                    files, numbers = {}, 0
        if files:
            yield {"kind": "coverage", "context": context, "branches": branches, "files": files}
            files, numbers = {}, 0


def read(frame: Frame) -> Measured:
    """Return what a child measured, checked.

    Raises ``GarbledError`` for whatever a child of ours would not have sent.
    """
    branches, files = frame.get("branches"), frame.get("files")
    if not isinstance(branches, bool) or not isinstance(files, dict):
        raise GarbledError("a measurement of coverage is not one")
    found = Measured(_name(frame.get("context")), branches)
    for name, file in files.items():
        _name(name)
        if not isinstance(file, dict) or not isinstance(file.get("seen"), list):
            raise GarbledError("a file's measurement of coverage is not one")
        if branches:
            found.arcs[name] = [_arc(each) for each in file["seen"]]
        else:
            found.lines[name] = [_line(each, 0) for each in file["seen"]]
        if tracer := _name(file.get("tracer")):
            found.tracers[name] = tracer
    return found


def _name(value: object) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST_NAME or "\0" in value:
        raise GarbledError("a measurement of coverage has something else where a name belongs")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:  # half a surrogate, which SQLite cannot store
        raise GarbledError("a measurement of coverage has a name that is not Unicode") from error
    return value


def _line(value: object, lowest: int) -> int:
    if type(value) is not int or not lowest <= value <= _HIGHEST_LINE:  # a bool is an int, too
        raise GarbledError("a measurement of coverage has something else where a line belongs")
    return value


def _arc(value: object) -> tuple[int, int]:
    if not isinstance(value, list) or len(value) != 2:
        raise GarbledError("a measurement of coverage has something else where an arc belongs")
    return _line(value[0], -_HIGHEST_LINE), _line(value[1], -_HIGHEST_LINE)
