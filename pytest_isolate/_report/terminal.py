"""The terminal's section "isolate": what tests have in common of why they had no sandbox, budgets,
the heaviest tests.

Quiet when there is nothing to say: what one test overstepped stands where pytest shows its failure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_isolate._config.values import counted, format_duration, format_size, plain
from pytest_isolate._report.unbuilt import is_bare, unbuilt

if TYPE_CHECKING:
    import pytest

    from pytest_isolate._report.budgets import Comparison

_SHOWN = 10  # of each list; the rest is counted
_TOP = (("memory", "memory_peak_bytes"), ("cpu", "cpu_seconds"), ("wall", "wall_seconds"))


class Text(NamedTuple):
    """One line, and how it is marked."""

    text: str
    markup: dict[str, bool]


def violations(
    entries: Iterable[dict[str, Any]],
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Each violation that failed its test, with its entry."""
    for entry in entries:
        if entry["outcome"] in {"failed", "error"}:
            for violation in entry["violations"]:
                yield entry, violation


def show_figure(name: str, figure: float | None) -> str:
    """Write a figure of the JSON report for people; a dash for one that was not measured."""
    if figure is None:
        return "-"
    return (
        format_size(int(figure))
        if name.endswith("_bytes")
        else format_duration(figure)
        if name.endswith("_seconds")
        else f"{figure:g}"
    )


def lines(
    entries: Sequence[dict[str, Any]], comparison: Comparison | None, written: str | None, top: int,
    width: int, *, durations: tuple[int, float] | None = None,
) -> list[Text]:  # fmt: skip
    """Write the section's lines, none when there is nothing to say."""
    found = [*_unbuilt(entries), *_bare(entries)]
    if comparison is not None:
        found += _budgets(comparison)
    if written is not None:
        found.append(Text(written, {}))
    if durations is not None:
        found += slowest(entries, *durations, width)
    if top:
        found += _heaviest(entries, top, width)
    return [Text(plain(each.text), each.markup) for each in found]


def _unbuilt(entries: Sequence[dict[str, Any]]) -> Iterator[Text]:
    """Say what several tests have in common; pytest shows each one's error as well."""
    for each in unbuilt(entries):
        if len(each.entries) > 1:
            yield Text(each.brief, {"red": True, "bold": True})
            yield from _cut([str(entry["nodeid"]) for entry in each.entries])


def _bare(entries: Sequence[dict[str, Any]]) -> Iterator[Text]:
    """List tests without namespaces, by what they had instead."""
    found: dict[tuple[str, ...], list[str]] = {}
    for entry in entries:
        if is_bare(entry):
            found.setdefault(
                (*entry["walls"], *(f"{name} by sampling" for name in entry["sampled"])), []
            ).append(str(entry["nodeid"]))
    for had, tests in found.items():
        yield Text(
            f"{counted(len(tests), 'test')} had no namespaces, only: {', '.join(had)} (their"
            " warnings say why)",
            {"yellow": True, "bold": True},
        )
        yield from _cut(tests)


def _budgets(comparison: Comparison) -> Iterator[Text]:
    update = f"pytest --isolate-budgets={comparison.path} --isolate-update-budgets"
    if comparison.unmeasured:
        names = ", ".join(comparison.unmeasured)
        yield Text(
            f"not compared, this machine does not measure it: {names} (pytest --isolate-doctor says"
            " why)",
            {"yellow": True},
        )
    if comparison.new:
        yield Text(
            f"{counted(len(comparison.new), 'test')} without a budget; to write one for each:"
            f" {update}",
            {"yellow": True},
        )
        named = (
            f"{test} (renamed? {comparison.renamed[test]})" if test in comparison.renamed else test
            for test in comparison.new
        )
        yield from _cut(list(named))
    if comparison.vanished:
        yield Text(
            f"{counted(len(comparison.vanished), 'budget')} of tests that are gone, still in"
            f" {comparison.path}",
            {"yellow": True},
        )
        yield from _cut(comparison.vanished)
    if comparison.room:
        yield Text(
            f"{counted(len(comparison.room), 'budget')} with room to tighten", {"green": True}
        )
        yield from _cut(comparison.room)


def _cut(items: Sequence[str]) -> Iterator[Text]:
    yield from (Text(f"  {item}", {}) for item in items[:_SHOWN])
    if len(items) > _SHOWN:
        yield Text(f"  and {len(items) - _SHOWN} more", {})


def _heaviest(entries: Sequence[dict[str, Any]], top: int, width: int) -> Iterator[Text]:
    for title, name in _TOP:
        measured = [entry for entry in entries if entry["usage"][name] is not None]
        measured.sort(key=lambda entry: (-entry["usage"][name], entry["nodeid"]))
        if measured:
            yield from _table(measured[:top], f"heaviest by {title}", width)


def slowest(
    entries: Sequence[dict[str, Any]], most: int, least: float, width: int
) -> Iterator[Text]:
    """Write what ``--durations`` leaves out of the slowest tests: their processor time and memory.

    ``most``: how many, 0 for all; ``least``: seconds.
    """
    timed = [entry for entry in entries if (entry["usage"]["wall_seconds"] or 0.0) >= least]
    timed.sort(key=lambda entry: (-(entry["usage"]["wall_seconds"] or 0.0), entry["nodeid"]))
    timed = [entry for entry in timed if entry["usage"]["wall_seconds"] is not None]
    if timed:
        yield from _table(timed[:most] if most else timed, "slowest", width)


def _table(entries: Sequence[dict[str, Any]], title: str, width: int) -> Iterator[Text]:
    yield Text("  ".join(f"{name:>10}" for name, _ in _TOP) + f"  {title}", {"bold": True})
    for entry in entries:
        figures = "  ".join(f"{show_figure(key, entry['usage'][key]):>10}" for _, key in _TOP)
        nodeid, left = entry["nodeid"], max(20, width - len(figures) - 3)
        yield Text(
            f"{figures}  {nodeid if len(nodeid) <= left else '...' + nodeid[3 - left :]}", {}
        )


def show(reporter: pytest.TerminalReporter, config: pytest.Config, shown: Sequence[Text]) -> None:
    """Write the section with pytest's own writer, which knows the width and whether colours are
    wanted.
    """
    del config
    if not shown:
        return
    reporter.section("isolate")
    for line in shown:
        reporter.write_line(line.text, **line.markup)
