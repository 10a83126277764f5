"""What ten thousand isolated tests cost in reports: ``python benchmarks/many.py [N]``.

N entries are made as a run makes them, then written by the run's own reporting as JSON, page,
budgets and GitHub's summary. Seconds are of the processor, so that a busy machine changes little;
memory is this process's resident set (``VmRSS``, its peak ``VmHWM``).
"""

from __future__ import annotations

import gc
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pytest_isolate._model import Usage
from pytest_isolate._report import budget_file, budgets, github, html, json_report
from pytest_isolate._report.files import write_whole
from pytest_isolate._sandbox.changes import Changes
from pytest_isolate._verdict.network_attempts import Attempt
from pytest_isolate._violations import MemoryExceeded

MIB = 1 << 20
HOST: dict[str, dict[str, object]] = {"memory": {"available": True, "reason": "cgroup v1"}}


def entry(number: int) -> json_report.Entry:
    """A test as they are: a few files, some looked at for memory, one in a hundred over its limit
    with 4 Ki characters of output.
    """
    failed = number % 100 == 0
    message = (
        "used 64 MiB of 64 MiB and wanted more, so the kernel killed python"
        f" (memory=64 MiB, set by @isolate on function test_{number})"
    )
    return json_report.Entry(
        nodeid=f"tests/unit/test_module_{number // 50}.py::TestSomething::test_case[{number}]",
        outcome="failed" if failed else "passed",
        verdict="violation" if failed else "ok",
        limits={"memory": 64 * MIB, "timeout": 30.0},
        usage=Usage(
            0.02 + number % 7 / 100,
            0.01,
            (3 + number % 40) * MIB,
            1 + number % 3,
            4096 * (number % 5),
            0,
            0,
            0.008,
            0.002,
        ),
        violations=(
            (MemoryExceeded("memory", message, "call", 64 * MIB, 64 * MIB),) if failed else ()
        ),
        changes=Changes([f"/tmp/pytest-of-you/pytest-0/test_case{number}/out.txt"], [], []),
        attempts=(Attempt("192.0.2.1", 443, 1),) if number % 50 == 0 else (),
        memory=tuple((0.02 * at, at * MIB) for at in range(1, 11)) if number % 10 == 0 else (),
        started=1.7e9 + number / 40,
        worker=f"gw{number % 4}",
        line=number % 300,
        output=f"Captured stdout call:\n{number:05}" + "x" * 4096 if failed else None,
    )


def resident(field: str = "VmRSS") -> float:
    """MiB."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text("ascii"))
    assert found is not None
    return int(found[1]) / 1024


@contextmanager
def step(name: str) -> Iterator[None]:
    """One line of the table: processor seconds, what stays in memory, and the peak above what was
    there before.
    """
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5", "ascii")  # VmHWM from here
    memory, begun = resident(), time.process_time()
    yield
    seconds, peak = time.process_time() - begun, resident("VmHWM")
    gc.collect()
    print(
        f"{name:28} {seconds:6.2f} s   stays {resident() - memory:+7.1f} MiB   peak"
        f" {peak - memory:+7.1f} MiB",
        flush=True,
    )


def main() -> None:
    """Make, write, read back."""
    count = int(sys.argv[1]) if sys.argv[1:] else 10_000
    html.page(HOST, [], {})  # imports: no part of what a test costs
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        print(f"{count} tests; this process has {resident():.0f} MiB before them")
        with step("entries, during the run"):
            entries = [entry(number) for number in range(count)]
        with step("as JSON objects"):
            objects = [each.as_json() for each in entries]
        with step("--isolate-report"):
            write_whole("report.json", json_report.text(HOST, objects))
        with step("--isolate-html"):
            write_whole("page.html", html.page(HOST, objects, {}))
        with step("--isolate-update-budgets"):
            empty = budget_file.parse("budgets.toml", "")
            tests = {each["nodeid"]: each["usage"] for each in objects}
            write_whole("budgets.toml", budget_file.render(budgets.updated(empty, tests, ())))  # type: ignore[arg-type]
        with step("--isolate-budgets"):
            read = budget_file.parse("budgets.toml", Path("budgets.toml").read_text("utf-8"))
            found = [
                budgets.exceeded(read, str(name), usage, "call")  # type: ignore[arg-type]
                for name, usage in tests.items()
            ]
            budgets.compare(read, tests, ())  # type: ignore[arg-type]
            assert not any(found)
        with step("GitHub's summary"):
            list(github.summary(objects))
        sizes = ", ".join(
            f"{name} {os.path.getsize(name) / MIB:.1f} MiB"
            for name in ("report.json", "page.html", "budgets.toml")
        )
        print(f"files: {sizes}")
        assert len(json.loads(Path("report.json").read_text("utf-8"))["tests"]) == count


if __name__ == "__main__":
    main()
