"""``pytest-isolate compare base.json head.json``: what got heavier and lighter between two JSON
reports.

Exit status: 0 nothing is heavier beyond the tolerance, 1 something is, 2 a file or an argument
cannot be read, or tests had no sandbox in one of the runs and could not be compared.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pytest_isolate._config.values import counted, plain
from pytest_isolate._report.budget_file import (
    KEYS,
    Number,
    Tolerance,
    default_tolerances,
    parse_tolerance,
)
from pytest_isolate._report.github import cell
from pytest_isolate._report.json_report import is_figure
from pytest_isolate._report.unbuilt import Unbuilt, is_unbuilt, unbuilt

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

Usages = Mapping[str, Mapping[str, Number | None]]  # by test, by the report's names
# Wall time is the machine's as much as the test's
_COMPARED = ("memory", "cpu", "pids", "disk", "io_read", "io_write")
_SCHEMA = 1


class Change(NamedTuple):
    """One figure of one test that moved by more than the tolerance."""

    test: str
    key: str
    base: Number
    head: Number

    @property
    def heavier(self) -> bool:
        """Whether it is worse."""
        return self.head > self.base

    def cells(self) -> tuple[str, ...]:
        """As a row of the table."""
        share = f"{(self.head - self.base) / self.base:+.0%}" if self.base else "new"
        show = KEYS[self.key].show
        return (
            "heavier" if self.heavier else "lighter",
            self.key,
            show(self.base),
            show(self.head),
            share,
            self.test,
        )


class Comparison(NamedTuple):
    """Two reports side by side."""

    changes: Sequence[Change]  # heavier first, then by how much
    appeared: Sequence[str]
    vanished: Sequence[str]
    unfinished: Sequence[str] = ()  # with how they ended, and where


class Report(NamedTuple):
    """One report, read."""

    # Of each test that did all its work: that passed, or failed for its budget alone
    usages: Usages
    unbuilt: Sequence[Unbuilt]  # tests that had no sandbox, and so did nothing
    # Of each other test that did not do all its work: how it ended
    unfinished: Mapping[str, str]

    @property
    def without_sandbox(self) -> set[str]:
        """Their names."""
        return {str(entry["nodeid"]) for each in self.unbuilt for entry in each.entries}


class UnreadableError(ValueError):
    """A file that is no report, in a sentence."""


def read(path: str) -> Report:
    """Read a file. Raises ``UnreadableError``."""
    try:
        report = json.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise UnreadableError(
            f"{path}: {error.strerror}; write a report with: pytest --isolate-report={path}"
        ) from None
    except (ValueError, RecursionError) as error:
        raise UnreadableError(
            f"{path}: this is no JSON: {error}; write a report with: pytest --isolate-report={path}"
        ) from None
    if (
        not isinstance(report, dict)
        or report.get("schema") != _SCHEMA
        or not isinstance(report.get("tests"), list)
    ):
        raise UnreadableError(
            f"{path}: this is no report of schema {_SCHEMA}; write one with: pytest"
            f" --isolate-report={path}"
        )
    found: dict[str, Mapping[str, Number | None]] = {}
    unfinished: dict[str, str] = {}
    for entry in report["tests"]:
        if (
            not isinstance(entry, dict)
            or not isinstance(entry.get("nodeid"), str)
            or not isinstance(entry.get("usage"), dict)
        ):
            raise UnreadableError(f"{path}: an entry of its tests has no nodeid or no usage")
        for name, figure in entry["usage"].items():
            if not is_figure(figure):
                raise UnreadableError(
                    f"{path}: {entry['nodeid']!r}: {name} must be a number of at least 0, or null,"
                    f" not {figure!r:.100}"
                )
        if entry.get("outcome") in {"passed", "xpassed"} or _only_over_budget(
            entry.get("violations")
        ):
            found[entry["nodeid"]] = entry["usage"]
        elif not is_unbuilt(entry):
            unfinished[entry["nodeid"]] = str(entry.get("outcome"))
    return Report(found, unbuilt(filter(is_unbuilt, report["tests"])), unfinished)


def _only_over_budget(violations: object) -> bool:
    """Whether a test failed for nothing but its budget: it did all its work, and is the one to be
    looked at.
    """
    if not isinstance(violations, list) or not violations:
        return False
    return all(
        isinstance(each, dict) and str(each.get("resource")).startswith("budget.")
        for each in violations
    )


def compare(
    base: Usages, head: Usages, tolerances: Mapping[str, Tolerance], keys: Sequence[str] = _COMPARED
) -> Comparison:
    """Compare. A figure that one of the two lacks is not compared."""
    changes = []
    for test in sorted(base.keys() & head.keys()):
        for key in keys:
            before, after = base[test].get(KEYS[key].usage), head[test].get(KEYS[key].usage)
            if (
                before is not None
                and after is not None
                and abs(after - before) > tolerances[key].of(min(before, after))
            ):
                changes.append(Change(test, key, before, after))
    changes.sort(
        key=lambda each: (
            not each.heavier,
            keys.index(each.key),
            -abs(each.head - each.base),
            each.test,
        )
    )
    return Comparison(changes, sorted(head.keys() - base.keys()), sorted(base.keys() - head.keys()))


_TITLES = ("", "resource", "base", "head", "change", "test")


def as_text(found: Comparison) -> Iterator[str]:
    """Draw a table for a terminal."""
    rows = [_TITLES, *(each.cells() for each in found.changes)] if found.changes else []
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(5)]
    for row in rows:
        left = "  ".join(
            text.ljust(width) if n < 2 else text.rjust(width)
            for n, (text, width) in enumerate(zip(row, widths, strict=False))
        )
        yield f"{left}  {plain(row[5])}"
    for title, tests in _lists(found):
        yield from (f"{title}  {plain(test)}" for test in tests)
    yield _sum(found)


def as_markdown(found: Comparison) -> Iterator[str]:
    """Draw a table for a pull request."""
    if found.changes:
        yield from (
            "| | resource | base | head | change | test |",
            "| --- | --- | ---: | ---: | ---: | --- |",
        )
        yield from (
            "| " + " | ".join(cell(text) for text in each.cells()) + " |" for each in found.changes
        )
        yield ""
    for title, tests in _lists(found):
        yield from (f"- {title}: {cell(test)}" for test in tests)
    yield from ("", _sum(found))


def _lists(found: Comparison) -> tuple[tuple[str, Sequence[str]], ...]:
    return (
        ("appeared", found.appeared),
        ("vanished", found.vanished),
        ("not compared", found.unfinished),
    )


def _sum(found: Comparison) -> str:
    heavier = sum(each.heavier for each in found.changes)
    return (
        f"{heavier} heavier, {len(found.changes) - heavier} lighter beyond the tolerance; "
        f"{counted(len(found.appeared), 'test')} appeared, {len(found.vanished)} vanished"
        + (f", {len(found.unfinished)} not compared" if found.unfinished else "")
    )


def _tolerance(text: str) -> tuple[str, Tolerance]:
    key, _, value = text.partition("=")
    if key not in KEYS:
        raise argparse.ArgumentTypeError(
            f"{text!r}: it must be KEY=TOLERANCE, KEY one of {', '.join(KEYS)}"
        )
    try:
        return key, parse_tolerance(key, value)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from None


def add_command(commands: Commands) -> None:
    """Add ``compare`` to the console script."""
    command = commands.add_parser(
        "compare", help="what got heavier and lighter between two reports of --isolate-report"
    )
    command.add_argument("base")
    command.add_argument("head")
    command.add_argument("--format", choices=("text", "markdown"), default="text")
    command.add_argument(
        "--tolerance", metavar="KEY=TOLERANCE", type=_tolerance, action="append", default=[],
        help="such as memory=20%% or 'cpu=50%% or 50ms'; naming wall compares wall time too",
    )  # fmt: skip
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Compare, and say it. Returns the exit status."""
    named = dict(options.tolerance)
    try:
        base, head = read(options.base), read(options.head)
    except UnreadableError as error:
        sys.stderr.write(f"pytest-isolate compare: {error}\n")
        return 2
    keys = [key for key in KEYS if key in _COMPARED or key in named]
    found = compare(base.usages, head.usages, {**default_tolerances(), **named}, keys)
    # Nobody knows what they would have used: they neither appeared nor vanished
    without = base.without_sandbox | head.without_sandbox
    unknown = without | base.unfinished.keys() | head.unfinished.keys()
    found = found._replace(
        appeared=[each for each in found.appeared if each not in unknown],
        vanished=[each for each in found.vanished if each not in unknown],
        unfinished=[*_unfinished(base, head, options.head), *_unfinished(head, base, options.base)],
    )
    is_markdown = options.format == "markdown"
    lines = [
        *_not_compared(options.base, base, is_markdown=is_markdown),
        *_not_compared(options.head, head, is_markdown=is_markdown),
    ]
    lines += as_markdown(found) if is_markdown else as_text(found)
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if any(each.heavier for each in found.changes) else 2 if without else 0


def _unfinished(one: Report, other: Report, path: str) -> list[str]:
    """Tell which tests did all their work in one run alone, and how they ended in the other."""
    tests = sorted(one.usages.keys() & other.unfinished.keys())
    return [f"{each} ({other.unfinished[each]} in {path})" for each in tests]


def _not_compared(path: str, report: Report, *, is_markdown: bool) -> Iterator[str]:
    for each in report.unbuilt:
        sentence = f"{path}: {each.heading}; not compared"
        yield from (f"**{cell(sentence)}**", "") if is_markdown else (plain(sentence),)
