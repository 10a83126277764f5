"""What tests used against what they may use: violations, room to tighten, new and vanished tests,
and the updated file. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from pytest_isolate._report.budget_file import (
    KEYS,
    Budgets,
    Line,
    Number,
    default_tolerances,
    make_line,
)
from pytest_isolate._violations import BudgetExceeded

Figures = Mapping[str, Number | None]  # a test's usage, by the JSON report's names


def exceeded(budgets: Budgets, nodeid: str, usage: Figures, phase: str) -> list[BudgetExceeded]:
    """Find the budgets that a test overstepped by more than the tolerance.

    What was not measured is not compared.
    """
    line = budgets.line_of(nodeid)
    if line is None:
        return []
    found = []
    for name, budget in line.figures.items():
        key, used, tolerance = KEYS[name], usage.get(KEYS[name].usage), budgets.tolerances[name]
        if used is None or used <= budget + tolerance.of(budget):
            continue
        share = f" ({(used - budget) / budget:.0%})" if budget else ""
        message = (
            f"used {key.show(used)} of {key.show(budget)}, its budget of {name}:"
            f" {key.show(used - budget)}{share} over it, with a tolerance of {tolerance.text}"
            f" (set in {budgets.path}:{line.number})"
        )
        found.append(BudgetExceeded(f"budget.{name}", message, phase, budget, used))
    return found


def unmeasured(budgets: Budgets, tests: Mapping[str, Figures]) -> list[str]:
    """Keys that have a budget and no figure: said once a run, never compared."""
    return [
        name
        for name, key in KEYS.items()
        if any(
            (line := budgets.line_of(test))
            and name in line.figures
            and usage.get(key.usage) is None
            for test, usage in tests.items()
        )
    ]


def room(budgets: Budgets, tests: Mapping[str, Figures]) -> list[str]:
    """Budgets that could be tightened: a budget of what was used would still allow less, with its
    tolerance, than this one says.

    A file may have tolerances below what the same test varies by from run to run; to advise within
    that is to have the test fail.
    """
    noise = default_tolerances()
    heaviest: dict[tuple[str, str], Number] = {}
    for test, usage in tests.items():
        line = budgets.line_of(test)
        for name in line.figures if line else ():
            used = usage.get(KEYS[name].usage)
            if used is not None:
                assert line is not None
                heaviest[line.name, name] = max(heaviest.get((line.name, name), 0), used)
    found = []
    for (test, name), used in sorted(heaviest.items()):
        budget, key = budgets.lines[test].figures[name], KEYS[name]
        if used + max(budgets.tolerances[name].of(used), noise[name].of(used)) < budget:
            found.append(
                f"{test}: {name} {key.show(budget)} could be {key.show(used)}"
                f" ({budgets.path}:{budgets.lines[test].number})"
            )
    return found


def new(budgets: Budgets, tests: Iterable[str]) -> list[str]:
    """Find tests without a line."""
    return sorted(test for test in tests if budgets.line_of(test) is None)


def vanished(
    budgets: Budgets, collected: Collection[str], existing: Collection[str], *, whole_files: bool
) -> list[str]:
    """Lines without a test: their file is gone, or was collected whole and has no such test.

    What was not looked at is kept.

    ``existing`` are the files of the lines that are there; ``whole_files`` is False when single
    tests were asked for by ``::``.
    """
    files = {_file(test) for test in collected}
    known = set(collected)
    found = []
    for name, line in budgets.lines.items():
        file = _file(name)
        if "*" in file or "?" in file:
            continue  # many files: nobody knows whether all were looked at
        looked_at = file not in existing or (whole_files and file in files)
        if looked_at and not (
            any(map(line.matches, collected)) if line.is_pattern else name in known
        ):
            found.append(name)
    return sorted(found)


def renamed(gone: Iterable[str], fresh: Iterable[str]) -> dict[str, str]:
    """Pair new tests with the vanished line that they seem to come from: of a function of that
    name, elsewhere or with other parameters.
    """
    by_function: dict[str, list[str]] = {}
    for name in gone:
        by_function.setdefault(_function(name), []).append(name)
    return {
        test: candidates[0] for test in fresh if (candidates := by_function.get(_function(test)))
    }


def _file(nodeid: str) -> str:
    return nodeid.split("::", 1)[0]


def _function(nodeid: str) -> str:
    return re.sub(r"\[.*", "", nodeid, flags=re.DOTALL).rsplit("::", 1)[-1]


def updated(budgets: Budgets, tests: Mapping[str, Figures], gone: Collection[str]) -> Budgets:
    """Make the budgets with these tests' usage.

    Lines of other tests stay, those of vanished ones go.

    A figure that what was used agrees with, within the tolerance, stays as it is: noise makes no
    diff. A pattern's figures are only raised, since nobody knows whether all its tests ran.
    """
    lines = {name: line for name, line in budgets.lines.items() if name not in gone}
    kept = replace(budgets, lines=lines)
    changed: dict[str, dict[str, Number]] = {}
    for test, usage in tests.items():
        line = kept.line_of(test) or make_line(test, 0, {})
        figures = changed.setdefault(line.name, {})
        for name, used in _measured(line, usage):
            figures[name] = max(figures.get(name, 0), used)
    for test, figures in changed.items():
        old = lines.get(test) or make_line(test, 0, {})
        merged = {
            **old.figures,
            **{name: _settled(kept, old, name, used) for name, used in figures.items()},
        }
        if merged:
            lines[test] = replace(old, figures=merged)
    return replace(budgets, lines=lines)


def _measured(line: Line, usage: Figures) -> Iterator[tuple[str, Number]]:
    """Make a line: a known one keeps its keys, a new one gets those that are written by default."""
    for name, key in KEYS.items():
        used = usage.get(key.usage)
        if used is not None and (name in line.figures if line.number else key.written):
            yield name, used


def _settled(budgets: Budgets, line: Line, name: str, used: Number) -> Number:
    old = line.figures.get(name)
    if old is None:
        return used
    if line.is_pattern and used <= old:
        return old
    tolerance = budgets.tolerances[name]
    return old if old <= used + tolerance.of(used) and used <= old + tolerance.of(old) else used


@dataclass(frozen=True)
class Comparison:
    """What a run says of a budget file as a whole, for the terminal."""

    path: str
    room: tuple[str, ...]
    new: tuple[str, ...]
    vanished: tuple[str, ...]
    renamed: Mapping[str, str]
    unmeasured: tuple[str, ...]


def compare(budgets: Budgets, tests: Mapping[str, Figures], gone: Iterable[str]) -> Comparison:
    """Everything but the violations, which are the tests' own."""
    fresh, gone = new(budgets, tests), sorted(gone)
    return Comparison(
        budgets.path,
        tuple(room(budgets, tests)),
        tuple(fresh),
        tuple(gone),
        renamed(gone, fresh),
        tuple(unmeasured(budgets, tests)),
    )
