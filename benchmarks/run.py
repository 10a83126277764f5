"""What an isolated test costs, beside the floor and beside plain pytest: ``python benchmarks/run.py``.

Everything runs on this interpreter, interleaved in rounds, because a machine's speed drifts: read the ratios. Nothing
is judged here; README.md beside this file says how to read the tables.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import table
from runs import VARIANTS, BenchmarkError, sample, start_up, write_tests


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--tests", type=int, default=200, help="empty tests in each run (default 200)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of all variants (default 5)")
    parser.add_argument(
        "--resident", type=int, action="append", metavar="MB",
        help="resident memory of the test process; may be given several times (default 40 and 300)",
    )  # fmt: skip
    parser.add_argument("--start-up-rounds", type=int, default=20, metavar="N", help="0 leaves start-up out (default 20)")
    parser.add_argument("--isolate", action="append", default=[], metavar="ARG", help="a further argument of the isolated runs")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write every single figure there")
    arguments = parser.parse_args()
    if arguments.tests < 4 or arguments.rounds < 1:
        parser.error("a median needs at least 4 tests and 1 round")
    return arguments


def _measure_tests(directory: Path, arguments: argparse.Namespace, resident_mb: int) -> table.Rounds:
    tests = write_tests(directory, arguments.tests)
    rounds: table.Rounds = {name: [] for name in VARIANTS}
    for variant in VARIANTS:  # not counted: it writes byte code and warms the page cache
        sample(variant, tests, resident_mb, arguments.isolate)
    for _ in range(arguments.rounds):
        for variant in VARIANTS:
            rounds[variant].append(sample(variant, tests, resident_mb, arguments.isolate))
    return rounds


def _measure_start_up(directory: Path, rounds: int) -> dict[str, list[tuple[float, float]]]:
    tests = write_tests(directory, 1)
    times: dict[str, list[tuple[float, float]]] = {"plain": [], "loaded": []}
    for name in times:
        start_up(name, tests)
    for number in range(rounds):
        for name in reversed(times) if number % 2 else times:  # neither is always the second
            times[name].append(start_up(name, tests))
    return times


def main() -> int:
    """Measure and print."""
    arguments = _arguments()
    host = f"Python {platform.python_version()}, Linux {platform.release()}"
    print(f"{host}; {arguments.tests} empty tests a run, {arguments.rounds} rounds; times in ms")
    figures: dict[str, object] = {"host": host, "tests": arguments.tests, "isolate": arguments.isolate}
    with tempfile.TemporaryDirectory(prefix="isolate-bench-") as directory:
        try:
            for resident_mb in arguments.resident or (40, 300):
                rounds = _measure_tests(Path(directory), arguments, resident_mb)
                print(f"\nper test, at least {resident_mb} MB resident", *table.per_test(rounds), sep="\n", flush=True)
                samples = {name: [asdict(each) for each in of_one] for name, of_one in rounds.items()}
                ratios = {f"{above}/{below}": table.ratios(rounds, above, below) for above, below in table.RATIOS}
                figures[f"resident_{resident_mb}"] = {"samples": samples, "ratios": ratios}
            if arguments.start_up_rounds:
                times = _measure_start_up(Path(directory), arguments.start_up_rounds)
                print("\na whole process with one plain test", *table.start_up(times), sep="\n")
                figures["start_up"] = times
        except BenchmarkError as error:
            print(error, file=sys.stderr)
            return 1
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
