"""Plain-text tables of what was measured."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from shared.runs import VARIANTS, Sample

#: Round by round: variant -> its sample in each round.
Rounds = dict[str, list[Sample]]

RATIOS = (
    ("isolated", "floor"),
    ("isolated, 2 jobs", "floor"),
    ("isolated, by module", "floor"),
    ("pytest-forked", "floor"),
    ("pytest-forked", "isolated"),
    ("xdist -n2", "floor"),
    ("zygote, 2 workers", "floor"),
    ("isolated, 2 jobs", "zygote, 2 workers"),
    ("isolated", "unmeasured"),
    ("isolated", "plain"),
    ("isolated, by module", "plain"),
    ("floor", "plain"),
    ("loaded", "plain"),
    ("testisolation", "plain"),
)
BUSY = ("plain", "isolated", "isolated, 2 jobs", "xdist -n2", "zygote, 2 workers")
BUSY_RATIOS = (
    ("isolated", "plain"),
    ("isolated, 2 jobs", "plain"),
    ("xdist -n2", "plain"),
    ("isolated, 2 jobs", "xdist -n2"),
)


def ratios(rounds: Rounds, above: str, below: str) -> list[float]:
    """Ratio of the medians, or of the means if tests overlap in one, one a round: both of a pair
    were measured within the same seconds.
    """
    what = "mean" if VARIANTS[above].overlaps or VARIANTS[below].overlaps else "median"
    return [
        getattr(one, what) / getattr(other, what)
        for one, other in zip(rounds[above], rounds[below], strict=True)
    ]


def per_test(rounds: Rounds) -> list[str]:
    """Milliseconds a test for each variant, then the ratios."""
    lines = [
        f"{'':30}{'median':>9}{'mean':>9}{'p95':>9}{'first':>9}{'whole run':>12}{'resident':>11}"
    ]
    for name, samples in rounds.items():
        columns = [
            _middle([getattr(each, what) for each in samples]) * 1e3
            for what in ("median", "mean", "p95")
        ]
        first = _middle([each.tests[0] for each in samples]) * 1e3
        whole, resident = (
            _middle([each.whole for each in samples]),
            _middle([each.resident_mb for each in samples]),
        )
        shown = "".join(f"{value:>9.3f}" for value in columns)
        lines.append(f"  {name:28}{shown}{first:>9.1f}{whole:>10.2f} s{resident:>8.0f} MB")
    lines.append(f"{'':30}{'median':>9}{'min':>9}{'max':>9}")
    for above, below in RATIOS:
        if above in rounds and below in rounds:
            lines.append(_spread(f"{above} / {below}", ratios(rounds, above, below)))
    return lines


def busy(rounds: Rounds) -> list[str]:
    """Seconds of whole suites, with and without the start of their process, then the ratios."""
    lines = [f"{'':30}{'median':>9}{'min':>9}{'max':>9}"]
    for what, said in (("whole", "whole run"), ("loop", "without start")):
        lines += [
            _spread(f"{name}, {said}", [getattr(each, what) for each in samples])
            for name, samples in rounds.items()
        ]
        for above, below in BUSY_RATIOS:
            if above in rounds and below in rounds:
                pairs = zip(rounds[above], rounds[below], strict=True)
                lines.append(
                    _spread(
                        f"{above} / {below}",
                        [getattr(one, what) / getattr(other, what) for one, other in pairs],
                    )
                )
    return lines


def start_up(times: dict[str, list[tuple[float, float]]]) -> list[str]:
    """Milliseconds of a whole process with the plugin loaded and unused, against the same without
    it.
    """
    lines = [f"{'':30}{'median':>9}{'min':>9}{'max':>9}"]
    for index, what in enumerate(("wall", "processor")):
        for name, pairs in times.items():
            lines.append(_spread(f"{name}, {what}", [pair[index] * 1e3 for pair in pairs]))
        added = [
            (one[index] - other[index]) * 1e3
            for one, other in zip(times["loaded"], times["plain"], strict=True)
        ]
        lines.append(_spread(f"added, {what}", added))
    return lines


def _spread(name: str, values: Sequence[float]) -> str:
    return f"  {name:28}{_middle(values):>9.2f}{min(values):>9.2f}{max(values):>9.2f}"


def _middle(values: Sequence[float]) -> float:
    return statistics.median(values)
