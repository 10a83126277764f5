"""What a test's figures cost, or what strict does: ``python benchmarks/figures.py [ROUNDS [VARIANT
OTHER]]``.

Two variants (``runs.py``), interleaved: isolated tests with and without what only measures
(``unmeasured.py``), unless two others are named. Beside wall time the processor time of everything
that pytest started, which a busy machine changes less: that of 210 tests less that of 10, so that
start and end are not in it.
"""

from __future__ import annotations

import resource
import statistics
import sys
import tempfile
from pathlib import Path

from shared.runs import sample, write_tests

_MANY, _FEW = 210, 10


def _processor(variant: str, directory: Path, tests: int) -> tuple[float, float]:
    """Processor seconds of a whole run, and its median wall seconds a test."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run = sample(variant, write_tests(directory, tests), 40, [])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, run.median


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if sys.argv[1:] else 8
    names = tuple(sys.argv[2:]) or ("isolated", "unmeasured")
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory(prefix="isolate-bench-") as directory:
        for number in range(rounds):
            for name in names if number % 2 else reversed(names):
                few, _ = _processor(name, Path(directory), _FEW)
                many, wall = _processor(name, Path(directory), _MANY)
                found[name].append(((many - few) / (_MANY - _FEW), wall))
    print(f"{rounds} rounds; ms a test, median of the rounds; ratios round by round")
    for index, what in enumerate(("processor", "wall")):
        ones, others = ([each[index] for each in found[name]] for name in names)
        ratios = [one / other for one, other in zip(ones, others, strict=True)]
        print(
            f"{what:10} {names[0]} {statistics.median(ones) * 1e3:6.2f}   {names[1]}"
            f" {statistics.median(others) * 1e3:6.2f}   ratio {statistics.median(ratios):.3f}"
            f" [{min(ratios):.2f}, {max(ratios):.2f}]"
        )


if __name__ == "__main__":
    main()
