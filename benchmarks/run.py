"""What an isolated test costs, beside the floor and beside plain pytest: ``python
benchmarks/run.py``.

Everything runs on this interpreter, interleaved in rounds, because a machine's speed drifts: read
the ratios. Nothing is judged here; README.md beside this file says how to read the tables.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from shared import peers, table
from shared.runs import VARIANTS, BenchmarkError, sample, start_up, write_busy_tests, write_tests

from pytest_isolate._linux.cgroup import locate

_BUSY_TESTS, _BUSY_SECONDS = 40, 0.05


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--tests", type=int, default=200, help="empty tests in each run (default 200)"
    )
    parser.add_argument("--rounds", type=int, default=5, help="rounds of all variants (default 5)")
    parser.add_argument(
        "--resident", type=int, action="append", metavar="MB",
        help="resident memory of the test process; may be given several times (default 40 and 300)",
    )  # fmt: skip
    parser.add_argument(
        "--without-peers",
        action="store_true",
        help="leave out the plugins of others, which are installed for it",
    )
    parser.add_argument(
        "--start-up-rounds",
        type=int,
        default=20,
        metavar="N",
        help="0 leaves start-up out (default 20)",
    )
    parser.add_argument(
        "--isolate",
        action="append",
        default=[],
        metavar="ARG",
        help="a further argument of the isolated runs",
    )
    parser.add_argument("--json", type=Path, metavar="PATH", help="write every single figure there")
    arguments = parser.parse_args()
    if arguments.tests < 4 or arguments.rounds < 1:
        parser.error("a median needs at least 4 tests and 1 round")
    return arguments


def _measure_tests(
    names: Iterable[str], tests: Path, arguments: argparse.Namespace, resident_mb: int
) -> table.Rounds:
    rounds: table.Rounds = {
        name: [] for name in names if not (arguments.without_peers and VARIANTS[name].environment)
    }
    for variant in rounds:  # not counted: it writes byte code and warms the page cache
        sample(variant, tests, resident_mb, arguments.isolate)
    for _ in range(arguments.rounds):
        for variant, samples in rounds.items():
            samples.append(sample(variant, tests, resident_mb, arguments.isolate))
    return rounds


def _kernels_part(directory: Path, rounds: int) -> float | None:
    """Milliseconds of the same kernel work from C (``floor.c``); None without a compiler or without
    root.
    """
    if shutil.which("cc") is None or os.geteuid() != 0:
        return None
    program = directory / "floor"
    subprocess.run(["cc", "-O2", "-o", program, Path(__file__).parent / "floor.c"], check=True)
    groups = sorted(
        {
            each.directory
            for each in locate.own_hierarchies().values()
            if os.access(each.directory, os.W_OK)
        }
    )
    done = subprocess.run(
        [program, str(rounds), *groups], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BenchmarkError(f"floor.c: {done.stderr}")
    return float(done.stdout)


def _as_json(rounds: table.Rounds) -> dict[str, object]:
    return {name: [asdict(each) for each in samples] for name, samples in rounds.items()}


def _versions() -> str:
    return "; ".join(
        ", ".join(f"{package} {peers.version(peer, package)}" for package in (peer, "pytest"))
        for peer in peers.PACKAGES
    )


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
    if not arguments.without_peers:
        print(_versions())
    figures: dict[str, object] = {
        "host": host,
        "tests": arguments.tests,
        "isolate": arguments.isolate,
    }
    with tempfile.TemporaryDirectory(prefix="isolate-bench-") as directory:
        try:
            for resident_mb in arguments.resident or (40, 300):
                tests = write_tests(Path(directory), arguments.tests)
                rounds = _measure_tests(VARIANTS, tests, arguments, resident_mb)
                print(
                    f"\nper test, at least {resident_mb} MB resident",
                    *table.per_test(rounds),
                    sep="\n",
                    flush=True,
                )
                figures[f"resident_{resident_mb}"] = _as_json(rounds)
            figures["c"] = kernels_part = _kernels_part(Path(directory), arguments.tests)
            print(
                "\nthe kernel's part from C: "
                + (
                    f"{kernels_part:.2f} ms"
                    if kernels_part
                    else "not measured, for that takes cc and root"
                )
            )
            rounds = _measure_tests(
                table.BUSY,
                write_busy_tests(Path(directory), _BUSY_TESTS, _BUSY_SECONDS),
                arguments,
                0,
            )
            print(
                f"\n{_BUSY_TESTS} tests that use {_BUSY_SECONDS * 1e3:.0f} ms of processor each",
                *table.busy(rounds),
                sep="\n",
                flush=True,
            )
            figures["busy"] = _as_json(rounds)
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
