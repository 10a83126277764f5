"""What a test's network costs: a server of a shared fixture, three hosts, a way out; and how fast
the relay to such a server is beside a connection without one.

``python benchmarks/networks.py [ROUNDS] [TESTS]``. A round runs each kind of test once in a pytest
of its own; the price is the median of a kind's tests less that of the kind beside it, in the same
round. Shown are the median, the least and the most over the rounds; of the processor time, which a
busy machine changes less, what a run takes more than one of few tests, for each test more. The
goals: a forwarded server at most 1 ms a test, three hosts at most 25 ms. Nothing is sent beyond the
machine.
"""

from __future__ import annotations

import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import NamedTuple

from measure import STAMPS

_HERE = Path(__file__).parent
_FEW = 8
_FIRST = 5  # tests of a run that are left out: the first waits for the builder
_SERVER = """
import os, socket, threading, time
import pytest
from pytest_isolate import Network, isolate

@pytest.fixture(scope="session")
def server():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        def serve():
            while True:
                try: client, _ = listening.accept()
                except OSError: return
                threading.Thread(target=answer, args=(client,), daemon=True).start()
        def answer(client):
            with client:
                while data := client.recv(1 << 20):
                    if data[:1] == b"?": client.sendall(b"!")
        threading.Thread(target=serve, daemon=True).start()
        yield listening.getsockname()

def asks(server):
    with socket.create_connection(server) as client:
        client.sendall(b"?")
        assert client.recv(1) == b"!"
"""
#: By name: what a test is marked with, what it does, and the kind whose price is taken off.
_KINDS = {
    "own network": ("", "(): pass", None),
    "three hosts": ("net=Network('a', 'b', 'c')", "(): pass", "own network"),
    "a way out": ("net='internet'", "(): pass", "own network"),
    "server, not reached": ("forward=None", "(server): pass", None),
    "server, not used": ("", "(server): pass", "server, not reached"),
    "server, used": ("", "(server): asks(server)", "server, not reached"),
}
_SPEED = """
@pytest.mark.parametrize("where", ["direct", "relay"])
@pytest.mark.parametrize("turn", range(3))
def test_speed(server, where, turn, request):
    # marked below, for what is marked is read at the test's turn
    block, total = bytes(1 << 20), 1 << 30
    with socket.create_connection(server) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        times = []
        for _ in range(2000):
            begin = time.perf_counter()
            client.sendall(b"?")
            client.recv(1)
            times.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        for _ in range(total >> 20): client.sendall(block)
        client.shutdown(socket.SHUT_WR)
        client.recv(1)
        seconds = time.perf_counter() - begin
    with open(os.environ["ISOLATE_BENCH_SPEED"], "a") as file:
        file.write(f"{where} {sorted(times)[len(times) // 2]} {total / seconds}\\n")

def pytest_collection_modifyitems(items):
    for item in items:
        direct = item.callspec.params["where"] == "direct"
        item.add_marker(isolate(net="host") if direct else isolate())
"""


class Cost(NamedTuple):
    """Of a test, in seconds."""

    wall: float
    processor: float

    def __sub__(self, other: Cost) -> Cost:
        """Give what it costs more."""
        return Cost(self.wall - other.wall, self.processor - other.processor)


def main() -> None:
    """Measure, and print two tables."""
    rounds, tests = (int(each) for each in [*sys.argv[1:3], *["5", "40"][len(sys.argv[1:3]) :]])
    found: dict[str, list[Cost]] = {name: [] for name in _KINDS}
    for _ in range(rounds):
        for name, (marker, body, _) in _KINDS.items():
            found[name].append(_cost(marker, body, tests))
    print(f"{'milliseconds a test':30}{'median':>9}{'least':>9}{'most':>9}{'processor':>11}")
    for name, (_, _, beside) in _KINDS.items():
        _say(name, found[name])
        if beside is not None:
            pairs = zip(found[name], found[beside], strict=True)
            _say(f"  beside {beside}", [each - other for each, other in pairs])
    print(f"\n{'to a server':24}{'round trip':>12}{'throughput':>12}")
    for where, latency, speed in _speeds():
        print(f"{where:24}{latency * 1e6:9.1f} us{speed / 1e9:7.2f} GB/s")


def _say(name: str, costs: list[Cost]) -> None:
    walls, processor = zip(*costs, strict=True)
    shown = (statistics.median(walls), min(walls), max(walls))
    figures = "".join(f"{each * 1000:9.2f}" for each in shown)
    print(f"{name:30}{figures}{statistics.median(processor) * 1000:11.2f}")


def _cost(marker: str, body: str, tests: int) -> Cost:
    wall, processor = _run_of(marker, body, tests)
    _, of_few = _run_of(marker, body, _FEW)
    return Cost(wall, (processor - of_few) / (tests - _FEW))


def _run_of(marker: str, body: str, tests: int) -> tuple[float, float]:
    """Give a test's median, and all processor time of all processes."""
    text = f"{_SERVER}\n@isolate({marker})\n@pytest.mark.parametrize('number', range({tests}))\n"
    arguments = "(number, " if "(server)" in body else "(number"
    with tempfile.TemporaryDirectory() as directory:
        stamps = Path(directory) / "stamps.json"
        text += f"def test_it{body.replace('(', arguments, 1)}\n"
        before = _processor()
        _run(directory, text, stamps)
        used = _processor() - before
        times: list[float] = json.loads(stamps.read_text())["stamps"]
    steady = times[_FIRST:]
    return statistics.median(b - a for a, b in itertools.pairwise(steady)), used


def _processor() -> float:
    """Of all processes that were started here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _speeds() -> list[tuple[str, float, float]]:
    test, hook = _SPEED.split("def pytest_collection", 1)
    with tempfile.TemporaryDirectory() as directory:
        said = Path(directory) / "speed"
        said.touch()
        (Path(directory) / "conftest.py").write_text(
            f"from pytest_isolate import isolate\ndef pytest_collection{hook}"
        )
        more = [f"--isolate-bind={said}"]
        _run(directory, textwrap.dedent(_SERVER + test), Path(directory) / "stamps.json", *more)
        lines = [line.split() for line in said.read_text().splitlines()]
    return [
        (
            where,
            statistics.median(float(line[1]) for line in lines if line[0] == where),
            statistics.median(float(line[2]) for line in lines if line[0] == where),
        )
        for where in ("direct", "relay")
    ]


def _run(directory: str, text: str, stamps: Path, *more: str) -> None:
    (Path(directory) / "test_it.py").write_text(text)
    (Path(directory) / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "isolate"]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(_HERE), os.environ.get("PYTHONPATH", "")])),
        STAMPS: str(stamps),
        "ISOLATE_BENCH_SPEED": str(Path(directory) / "speed"),
    }
    done = subprocess.run(
        [*command, "-p", "measure", *more],
        cwd=directory, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(done.stdout + done.stderr)


if __name__ == "__main__":
    main()
