"""How noisy a test's figures are: the same test many times, alone and with the other cores busy.

``python benchmarks/noise.py [N]`` prints, for each figure, its median and how far above the median the worst runs were. Then
it lets every run write the budget that every other run is held to, calm or busy, and prints how often that fails for noise alone, by
tolerance. The default tolerances in ``pytest_isolate/_report/budget_file.py`` are chosen from this.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import statistics
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

from pytest_isolate._report.budget_file import KEYS, parse_tolerance

TEST = """
import pytest
@pytest.mark.isolate
@pytest.mark.parametrize("number", range({number}))
@pytest.mark.parametrize("work", ["nothing", "compute", "allocate"])
def test_it(work, number):
    if work == "compute":
        sum(each * each for each in range(1_000_000))
    if work == "allocate":
        [b"x" * (1 << 20) for _ in range(30)]
"""
Found = dict[str, dict[str, list[float]]]  # by work and figure
FIGURES = {"cpu_seconds": (1000, "ms"), "wall_seconds": (1000, "ms"), "memory_peak_bytes": (1 / (1 << 20), "MiB")}
PERF_EVENT_OPEN = {"x86_64": 298, "aarch64": 241}
TOLERANCES = ("10%", "25%", "50%", "100%")  # and the default
SPIN = "while True: pass"


def instructions() -> str:
    """Whether perf_event_open(2) counts instructions here."""
    number = PERF_EVENT_OPEN.get(platform.machine())
    if number is None:
        return f"not tried on {platform.machine()}"
    size = 128
    attributes = struct.pack("IIQQQQQ", 0, size, 1, 0, 0, 0, 1 << 5 | 1 << 6)  # hardware, instructions, without kernel and hypervisor
    buffer = ctypes.create_string_buffer(attributes, size)
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.syscall(number, buffer, 0, -1, -1, 0)
    if fd < 0:
        return f"none: perf_event_open: {os.strerror(ctypes.get_errno())}"
    os.close(fd)
    return "counted"


def measure(number: int) -> Found:
    """Figures by work and name."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "test_it.py").write_text(TEST.format(number=number), "utf-8")
        command = [sys.executable, "-m", "pytest", "-q", "-p", "isolate", "-p", "no:cacheprovider", "--isolate-report=report.json"]
        environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        subprocess.run(command, cwd=directory, env=environment, check=True, stdout=subprocess.DEVNULL)
        report = json.loads(Path(directory, "report.json").read_text("utf-8"))
    found: Found = {}
    for entry in report["tests"]:
        work = entry["nodeid"].split("[")[1].split("-")[0]
        for name in FIGURES:
            if entry["usage"][name] is not None:
                found.setdefault(work, {}).setdefault(name, []).append(entry["usage"][name])
    return found


def show(title: str, found: Found) -> None:
    """One line a figure."""
    for work, figures in found.items():
        for name, values in figures.items():
            factor, unit = FIGURES[name]
            middle = statistics.median(values)
            ordered = sorted(values)
            p95 = ordered[int(len(ordered) * 0.95)]
            print(
                f"{title:6} {work:9} {name:18} median {middle * factor:7.1f} {unit:4} "
                f"p95 {p95 / middle - 1:+6.1%} max {ordered[-1] / middle - 1:+7.1%} ({(ordered[-1] - middle) * factor:+.1f} {unit})"
            )


def false_alarms(rounds: list[Found]) -> None:
    """One line a figure: the share of pairs, of a run that wrote the budget and a run that is held to it, that fail."""
    print("fails for noise alone, by tolerance")
    for name, key in ((key.usage, name) for name, key in KEYS.items() if key.usage in FIGURES):
        for work in rounds[0]:
            values = [value for found in rounds for value in found[work].get(name, [])]
            shares = []
            for text in (*TOLERANCES, KEYS[key].tolerance):
                tolerance = parse_tolerance(key, text)
                bounds = [budget + tolerance.of(budget) for budget in values]
                over = sum(used > bound for bound in bounds for used in values)
                shares.append(f"{text} {over / max(1, len(values)) ** 2:.2%}")
            print(f"{work:9} {name:18} {'   '.join(shares)}")


def main() -> None:
    """Alone, then with a spinning process on every core but one; then what tolerances make of both together."""
    number = int(sys.argv[1]) if sys.argv[1:] else 200
    cores = os.cpu_count() or 1
    print(f"{number} runs each, {cores} cores, load at the start {os.getloadavg()[0]:.1f}; instructions: {instructions()}")
    rounds = []
    for title, spinning in (("alone", 0), ("busy", max(1, cores - 1))):
        spinners = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(spinning)]
        try:
            rounds.append(measure(number))
        finally:
            for each in spinners:
                each.kill()
                each.wait()
        show(title, rounds[-1])
    false_alarms(rounds)


if __name__ == "__main__":
    main()
