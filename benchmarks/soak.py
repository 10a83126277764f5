"""Many mixed tests, each with one right outcome, and nothing left behind: ``python benchmarks/soak.py --tests 10000``.

Tests that pass, fail, crash, time out, leave daemons, fill their disk, run out of memory or print 5 MB take turns in one pytest,
which notes its own descriptors and resident memory after each. What the machine has of cgroups, mounts and processes is
compared with what it had before. Ends with 1 if anything is not as it should be.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

#: Kind -> body and the one right verdict. Every kind that waits for its end is rare, or the run would be all waiting.
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
OPTIONS = ("--isolate-all", "--isolate-memory=64M", "--isolate-disk=16M", "--isolate-timeout=30s", "--isolate-leaks=ignore")
FLAT_DESCRIPTORS, FLAT_MEMORY = 4, 0.25  # how many more, and what part more, the last quarter may have than the second

CONFTEST = """
import os, pytest, resource

with open("figures", "w") as file: pass

@pytest.hookimpl(trylast=True)
def pytest_runtest_logreport(report):
    report.sections.clear()  # pytest's terminal keeps every report to its end, which is no leak of anybody's

def pytest_runtest_logfinish(nodeid):
    with open("/proc/self/statm") as statm, open("figures", "a") as file:
        file.write(f"{len(os.listdir('/proc/self/fd'))} {int(statm.read().split()[1]) * resource.getpagesize()}\\n")
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
        "control groups": {str(path) for path in Path("/sys/fs/cgroup").rglob(f"pytest-isolate-{pid}-*")},
        "mounts": set(Path("/proc/self/mountinfo").read_text("utf-8").splitlines()),
        "processes": processes,
        "shared memory": set(os.listdir("/dev/shm")),
    }


def _write(directory: Path, count: int) -> list[str]:
    names = list(KINDS)
    kinds = [names[number % len(names)] for number in range(count)]
    late = '@pytest.mark.isolate(timeout="200ms")\n'
    body = "".join(
        f"{late if kind == 'timeout' else ''}def test_{number}_{kind}(): {KINDS[kind][0]}\n" for number, kind in enumerate(kinds)
    )
    (directory / "test_soak.py").write_text(f"import os, pytest, signal, subprocess\n{body}", "utf-8")
    (directory / "conftest.py").write_text(CONFTEST, "utf-8")
    return kinds


def _wrong(directory: Path, kinds: list[str]) -> list[str]:
    tests = json.loads((directory / "report.json").read_text("utf-8"))["tests"]
    wrong = [] if len(tests) == len(kinds) else [f"{len(tests)} of {len(kinds)} tests have an entry"]
    for test, kind in zip(tests, kinds, strict=False):
        outcome = "passed" if kind in {"pass", "daemon", "output"} else "failed"
        if (test["verdict"], test["outcome"]) != (KINDS[kind][1], outcome):
            wrong.append(f"{test['nodeid']}: {test['verdict']}, {test['outcome']}")
    return wrong


def _growth(directory: Path) -> tuple[str, bool]:
    rows = [tuple(map(int, line.split())) for line in (directory / "figures").read_text("ascii").splitlines()]
    quarter = len(rows) // 4
    early, late = rows[quarter : 2 * quarter], rows[-quarter:]
    descriptors = [max(row[0] for row in part) for part in (early, late)]
    memory = [sum(row[1] for row in part) / len(part) / (1 << 20) for part in (early, late)]
    flat = descriptors[1] - descriptors[0] <= FLAT_DESCRIPTORS and memory[1] <= memory[0] * (1 + FLAT_MEMORY)
    text = (
        f"descriptors {descriptors[0]} -> {descriptors[1]} at most, resident {memory[0]:.1f} -> {memory[1]:.1f} MB (second, last quarter)"
    )
    return text, flat


def main() -> int:
    """Run, compare, print."""
    parser = argparse.ArgumentParser(description="Many mixed tests, and nothing left behind.")
    parser.add_argument("--tests", type=int, default=1000)
    count = parser.parse_args().tests
    with tempfile.TemporaryDirectory(prefix="isolate-soak-") as name:
        directory = Path(name)
        kinds = _write(directory, count)
        marks = ("98765.4", name)
        before, began = _left(marks), time.monotonic()
        command = [sys.executable, "-m", "pytest", "-q", "-p", "isolate", "-p", "no:cacheprovider", "--tb=no", "-rN", "--show-capture=no"]
        command += [*OPTIONS, "--isolate-report=report.json"]
        with subprocess.Popen(command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
            said, _ = run.communicate()
        seconds = time.monotonic() - began
        if not (directory / "report.json").exists():
            print(said[-4000:])
            return 1
        wrong, left = _wrong(directory, kinds), {what: now - before[what] for what, now in _left(marks, run.pid).items()}
        growth, flat = _growth(directory)
    print(f"{count} tests in {seconds:.0f} s: {dict(collections.Counter(kinds))}")
    print(f"wrong outcomes: {len(wrong)}", *wrong[:20], sep="\n  ")
    print("left behind: " + (", ".join(f"{len(each)} {what} {sorted(each)[:3]}" for what, each in left.items() if each) or "nothing"))
    print(growth, "flat" if flat else "GROWING")
    return int(bool(wrong) or any(left.values()) or not flat)


if __name__ == "__main__":
    sys.exit(main())
