"""Many mixed tests, each with one right outcome, and nothing left behind: ``python
benchmarks/soak.py --tests 10000 --jobs 2``.

Tests that pass, fail, crash, time out, leave daemons, fill their disk, run out of memory or print 5
MB take turns in one pytest, which notes its own descriptors and resident memory after each. pytest
keeps the reports of every test to its end, so its memory grows in any run: a plain one of as many
tests with the same outcomes says by how much. What the machine has of cgroups, mounts and processes
is compared with what it had before. Ends with 1 if anything is not as it should be.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

#: Kind -> body and the one right verdict. Every kind that waits for its end is rare, or the run
#: would be all waiting.
KINDS = {
    "pass": ("pass", "ok"),
    "fail": ("assert 0", "ok"),
    "oom": ("bytearray(200 << 20)", "violation"),
    "timeout": ("signal.pause()", "timeout"),
    "crash": ("os.kill(os.getpid(), 11)", "crash"),
    "leaves": ("os._exit(0)", "crash"),
    "daemon": ("subprocess.Popen(['sleep', '98765.4'], start_new_session=True)", "ok"),
    "disk": ("open('fill', 'wb').write(bytes(64 << 20))", "violation"),
    "output": ("print('x' * (5 << 20))", "ok"),
}
_PASSING = frozenset({"pass", "daemon", "output"})
OPTIONS = (
    "--isolate-all",
    "--isolate-memory=64M",
    "--isolate-disk=16M",
    "--isolate-timeout=30s",
    "--isolate-leaks=ignore",
)
FLAT_DESCRIPTORS = 4  # how many more the last quarter may have than the second
# KB a test that may stay beside what a plain run keeps: its entry, its figures as properties of
# each report
FLAT_MEMORY = 6.0

CONFTEST = """
import os, resource

with open("figures", "w") as file: pass

# A hook of the reports themselves would have pytest fork each test
def pytest_report_teststatus(report):
    # pytest's terminal keeps every report to its end, which is no leak of anybody's
    report.sections.clear()
    if report.when != "teardown": return
    with open("/proc/self/statm") as statm, open("figures", "a") as file:
        resident = int(statm.read().split()[1]) * resource.getpagesize()
        file.write(f"{len(os.listdir('/proc/self/fd'))} {resident}\\n")
"""


def _left(marks: tuple[str, ...], pid: int | str = "*") -> dict[str, set[str]]:
    """What a run could leave on the machine."""
    processes = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it ended while we looked
            command = path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            if any(mark in command for mark in marks):
                processes.add(f"{path.parent.name} {command[:80]}")
    return {
        "control groups": {
            str(path) for path in Path("/sys/fs/cgroup").rglob(f"pytest-isolate-{pid}-*")
        },
        "mounts": set(Path("/proc/self/mountinfo").read_text("utf-8").splitlines()),
        "processes": processes,
        "shared memory": set(os.listdir("/dev/shm")),
    }


def _stays(marks: tuple[str, ...], pid: int, before: dict[str, set[str]]) -> dict[str, set[str]]:
    """What is there that was not before, and still is after a while: others have things of their
    own on this machine for a moment.
    """
    until = time.monotonic() + 10
    while True:
        left = {what: now - before[what] for what, now in _left(marks, pid).items()}
        if not any(left.values()) or time.monotonic() > until:
            return left
        time.sleep(0.5)


def _write(directory: Path, count: int) -> list[str]:
    names = list(KINDS)
    kinds = [names[number % len(names)] for number in range(count)]
    late = '@pytest.mark.isolate(timeout="200ms")\n'
    body = "".join(
        f"{late if kind == 'timeout' else ''}def test_{number}_{kind}(): {KINDS[kind][0]}\n"
        for number, kind in enumerate(kinds)
    )
    plain = "".join(
        f"def test_{number}_{kind}(): {'pass' if kind in _PASSING else 'assert 0'}\n"
        for number, kind in enumerate(kinds)
    )
    for name, text in (
        ("isolated", f"import os, pytest, signal, subprocess\n{body}"),
        ("plain", plain),
    ):
        (directory / name).mkdir()
        (directory / name / "test_soak.py").write_text(text, "utf-8")
        (directory / name / "conftest.py").write_text(CONFTEST, "utf-8")
    return kinds


def _run(directory: Path, *arguments: str) -> tuple[int, str, float]:
    """One pytest: its pid, what it said and the seconds that it took."""
    began = time.monotonic()
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--tb=no",
        "-rN",
        "--show-capture=no",
        *arguments,
    ]
    with subprocess.Popen(
        command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as run:
        said, _ = run.communicate()
    return run.pid, said, time.monotonic() - began


def _wrong(report: Path, kinds: list[str]) -> list[str]:
    tests = json.loads(report.read_text("utf-8"))["tests"]
    wrong = (
        [] if len(tests) == len(kinds) else [f"{len(tests)} of {len(kinds)} tests have an entry"]
    )
    for test, kind in zip(tests, kinds, strict=False):
        outcome = "passed" if kind in _PASSING else "failed"
        if (test["verdict"], test["outcome"]) != (KINDS[kind][1], outcome):
            wrong.append(f"{test['nodeid']}: {test['verdict']}, {test['outcome']}")
    return wrong


def _figures(directory: Path) -> tuple[list[int], list[float]]:
    """Of the second and the last quarter: the median of descriptors, as a child more in flight is
    no leak, and mean resident MB.
    """
    rows = [
        tuple(map(int, line.split()))
        for line in (directory / "figures").read_text("ascii").splitlines()
    ]
    quarter = len(rows) // 4
    parts = rows[quarter : 2 * quarter], rows[-quarter:]
    return [statistics.median_high(row[0] for row in part) for part in parts], [
        sum(row[1] for row in part) / len(part) / (1 << 20) for part in parts
    ]


def _growth(directory: Path, count: int) -> tuple[str, bool]:
    descriptors, memory = _figures(directory / "isolated")
    _, plain = _figures(directory / "plain")
    # The middles are half the tests apart
    stays, stays_plain = ((late - early) * 1024 / (count / 2) for early, late in (memory, plain))
    flat = (
        descriptors[1] - descriptors[0] <= FLAT_DESCRIPTORS and stays - stays_plain <= FLAT_MEMORY
    )
    text = (
        f"descriptors {descriptors[0]} -> {descriptors[1]}, resident {memory[0]:.1f} ->"
        f" {memory[1]:.1f} MB (second, last quarter): {stays:.1f} KB a test; plain {plain[0]:.1f}"
        f" -> {plain[1]:.1f} MB: {stays_plain:.1f} KB a test"
    )
    return text, flat


def main() -> int:
    """Run, compare, print."""
    parser = argparse.ArgumentParser(description="Many mixed tests, and nothing left behind.")
    parser.add_argument("--tests", type=int, default=1000)
    parser.add_argument("--jobs", default="1")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="isolate-soak-") as name:
        directory = Path(name)
        kinds = _write(directory, options.tests)
        report = directory / "isolated/report.json"
        marks = ("98765.4", name)
        before = _left(marks)
        pid, said, seconds = _run(
            directory / "isolated",
            "-p",
            "isolate",
            *OPTIONS,
            f"--isolate-jobs={options.jobs}",
            "--isolate-report=report.json",
        )
        if not report.exists():
            print(said[-4000:])
            return 1
        wrong, left = _wrong(report, kinds), _stays(marks, pid, before)
        _run(directory / "plain", "-p", "no:isolate")
        growth, flat = _growth(directory, options.tests)
    print(
        f"{options.tests} tests in {seconds:.0f} s, {options.jobs} at a time:"
        f" {dict(collections.Counter(kinds))}"
    )
    print(f"wrong outcomes: {len(wrong)}", *wrong[:20], sep="\n  ")
    print(
        "left behind: "
        + (
            ", ".join(
                f"{len(each)} {what} {sorted(each)[:3]}" for what, each in left.items() if each
            )
            or "nothing"
        )
    )
    print(growth, "flat" if flat else "GROWING")
    return int(bool(wrong) or any(left.values()) or not flat)


if __name__ == "__main__":
    sys.exit(main())
