"""Whether the last thousand of many tests are as fast as the first: ``python benchmarks/long.py
--tests 20000``.

Empty tests, everything isolated. Of each part of the run: the median and the mean time of a test,
pytest's open descriptors and its resident memory, beside what a plain pytest of as many tests
holds, for pytest itself keeps something of every test.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path

from shared import runs

_PART = 1000  # tests
_FIGURES = """
import os, resource
# A hook of the reports themselves would have pytest fork each test
def pytest_report_teststatus(report):
    if report.when != "teardown": return
    COUNT[0] += 1
    if COUNT[0] % {part} == 0 or COUNT[0] == 100:
        with open("/proc/self/statm") as statm, open({path!r}, "a") as file:
            resident = int(statm.read().split()[1]) * resource.getpagesize()
            file.write(f"{{COUNT[0]}} {{len(os.listdir('/proc/self/fd'))}} {{resident}}\\n")
COUNT = [0]
"""


def _run(variant: str, directory: Path, count: int) -> tuple[runs.Sample, list[list[int]]]:
    figures = directory / f"figures-{variant}"
    (directory / "conftest.py").write_text(
        _FIGURES.format(part=_PART, path=str(figures)), encoding="utf-8"
    )
    sample = runs.sample(variant, runs.write_tests(directory, count), 0, [])
    return sample, [
        list(map(int, line.split())) for line in figures.read_text("ascii").splitlines()
    ]


def main() -> int:
    """Run, and print a line for each part."""
    parser = argparse.ArgumentParser(description="Many empty tests: does anything grow?")
    parser.add_argument("--tests", type=int, default=20_000)
    count = parser.parse_args().tests
    if count < 2 * _PART:
        parser.error(f"--tests: at least {2 * _PART}")
    with tempfile.TemporaryDirectory(prefix="isolate-bench-") as name:
        try:
            isolated, figures = _run("isolated", Path(name), count)
            _, plain = _run("plain", Path(name), count)
        except runs.BenchmarkError as error:
            print(error, file=sys.stderr)
            return 1
    print(f"{count} empty tests, isolated, in {isolated.whole:.0f} s; {os.cpu_count()} processors")
    print("tests              median      mean   descriptors   resident   plain pytest's")
    of_plain = {row[0]: row for row in plain}
    for end, descriptors, resident in figures:
        begin = 0 if end < _PART else end - _PART
        part = isolated.tests[begin:end]
        print(
            f"{begin:>6} to {end:>6}  {statistics.median(part) * 1e3:>6.2f} ms"
            f" {statistics.fmean(part) * 1e3:>6.2f} ms  {descriptors:>12}"
            f" {resident / (1 << 20):>7.1f} MB {of_plain[end][2] / (1 << 20):>14.1f} MB"
        )
    first, last = isolated.tests[100:_PART], isolated.tests[-_PART:]
    print(f"last thousand / first: {statistics.median(last) / statistics.median(first):.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
