"""How noisy a test's figures are: the same test many times, alone and with the other cores busy.

``python benchmarks/noise.py [N]`` prints, for each figure, the least, the median, and the most.
Then it lets every run write the budget that every other run is held to, calm or busy, and prints
how often that fails for noise alone, by tolerance. The default tolerances in
``pytest_isolate/_report/budget_file.py`` are chosen from this.
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
import concurrent.futures, multiprocessing, os, subprocess, sys, threading, urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
import pytest

class Hello(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello")

def nothing(tmp_path): pass

def compute(tmp_path): sum(each * each for each in range(1_000_000))

def allocate(tmp_path): [b"x" * (1 << 20) for _ in range(30)]

def serve(tmp_path):  # six threads that ask, one that listens and one for each question
    with ThreadingHTTPServer(("127.0.0.1", 0), Hello) as server:
        threading.Thread(target=server.serve_forever).start()
        url = f"http://127.0.0.1:{{server.server_port}}"
        ask = lambda: urllib.request.urlopen(url).read()
        clients = [threading.Thread(target=ask) for _ in range(6)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        server.shutdown()

def threads(tmp_path):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: sum(range(number)), range(200)))

def commands(tmp_path):
    for child in [subprocess.Popen(["true"]) for _ in range(5)]:
        child.wait()

def pythons(tmp_path):
    subprocess.run([sys.executable, "-c", "import json"], check=True)

def forks(tmp_path):
    with multiprocessing.get_context("fork").Pool(4) as pool:
        pool.map(abs, range(100))

def spawns(tmp_path):  # and the tracker of resources
    with concurrent.futures.ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        list(pool.map(abs, range(100)))

def files(tmp_path):
    for number in range(50):
        (tmp_path / str(number)).write_bytes(b"x" * 5000)

def disk(tmp_path):  # of the machine, past its cache
    with open({shared!r}, "r+b") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        file.read()
        file.seek(0)
        file.write(os.urandom(4 << 20))
        os.fsync(file.fileno())

WORKS = [nothing, compute, allocate, serve, threads, commands, pythons, forks, spawns, files, disk]

@pytest.mark.isolate(bind=[{shared!r}], io_read="100G", io_write="100G")  # a limit has them counted
@pytest.mark.parametrize("number", range({number}))
@pytest.mark.parametrize("work", WORKS, ids=lambda work: work.__name__)
def test_it(work, number, tmp_path):
    work(tmp_path)
"""
Found = dict[str, dict[str, list[float]]]  # by work and figure
FIGURES = {
    "cpu_seconds": (1000, "ms"), "wall_seconds": (1000, "ms"),
    "memory_peak_bytes": (1 / (1 << 20), "MiB"), "pids_peak": (1, ""),
    "disk_bytes": (1 / 1024, "KiB"), "io_read_bytes": (1 / 1024, "KiB"),
    "io_write_bytes": (1 / 1024, "KiB"),
}  # fmt: skip
PERF_EVENT_OPEN = {"x86_64": 298, "aarch64": 241}
TOLERANCES = ("0%", "10%", "25%", "50%", "100%")  # and the default
SPIN = "while True: pass"


def instructions() -> str:
    """Whether perf_event_open(2) counts instructions here."""
    number = PERF_EVENT_OPEN.get(platform.machine())
    if number is None:
        return f"not tried on {platform.machine()}"
    size = 128
    # Hardware, instructions, without kernel and hypervisor
    attributes = struct.pack("IIQQQQQ", 0, size, 1, 0, 0, 0, 1 << 5 | 1 << 6)
    buffer = ctypes.create_string_buffer(attributes, size)
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.syscall(number, buffer, 0, -1, -1, 0)
    if fd < 0:
        return f"none: perf_event_open: {os.strerror(ctypes.get_errno())}"
    os.close(fd)
    return "counted"


def measure(number: int) -> Found:
    """Figures by work and name."""
    # On a disk, where the machine has one
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as directory:
        shared = Path(directory, "shared")
        shared.write_bytes(os.urandom(4 << 20))
        Path(directory, "test_it.py").write_text(
            TEST.format(number=number, shared=str(shared)), "utf-8"
        )
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "isolate",
            "-p",
            "no:cacheprovider",
            "--isolate-report=report.json",
        ]
        environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        subprocess.run(
            command, cwd=directory, env=environment, check=True, stdout=subprocess.DEVNULL
        )
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
            if ordered[-1] == 0:
                continue
            least, p95, most = (
                each * factor
                for each in (ordered[0], ordered[int(len(ordered) * 0.95)], ordered[-1])
            )
            print(
                f"{title:6} {work:9} {name:18} least {least:7.1f} median {middle * factor:7.1f} p95"
                f" {p95:7.1f} most {most:7.1f} {unit:4}"
                + (f" ({ordered[-1] / ordered[0] - 1:+.0%})" if ordered[0] else "")
            )


def false_alarms(rounds: list[Found]) -> None:
    """One line a figure: the share of pairs, of a run that wrote the budget and a run that is held
    to it, that fail.
    """
    print("fails for noise alone, by tolerance")
    for name, key in ((key.usage, name) for name, key in KEYS.items() if key.usage in FIGURES):
        for work in rounds[0]:
            values = [value for found in rounds for value in found[work].get(name, [])]
            if len(set(values)) < 2:
                continue
            shares = []
            for text in (*TOLERANCES, KEYS[key].tolerance):
                tolerance = parse_tolerance(key, text)
                bounds = [budget + tolerance.of(budget) for budget in values]
                over = sum(used > bound for bound in bounds for used in values)
                shares.append(f"{text} {over / max(1, len(values)) ** 2:.2%}")
            print(f"{work:9} {name:18} {'   '.join(shares)}")


def main() -> None:
    """Alone, then with a spinning process on every core but one; then what tolerances make of both
    together.
    """
    number = int(sys.argv[1]) if sys.argv[1:] else 200
    cores = os.cpu_count() or 1
    print(
        f"{number} runs each, {cores} cores, load at the start {os.getloadavg()[0]:.1f};"
        f" instructions: {instructions()}"
    )
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
