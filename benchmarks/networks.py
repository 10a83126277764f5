"""What a test's network costs: a server of a shared fixture, three hosts, a way out; and how fast
the relay to such a server is beside a connection without one.

``python benchmarks/networks.py [TESTS]``. Tests of two kinds take turns in one pytest, a few at a
time, so a machine that gets busy is busy for both. Shown are the median and the tenth percentile of
each kind, and their difference: the price. The goals: a forwarded server at most 1 ms a test, three
hosts at most 25 ms. Nothing is sent beyond the machine.
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

from plugins.measure import STAMPS

_HERE = Path(__file__).parent
_BLOCK = 6  # tests of one kind in a row, of which the outer ones are left out, as is the first pair
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
#: By name: what a test is marked with, what it does; and the same of what it is compared with.
_PAIRS = {
    "three hosts": ("net=Network('a', 'b', 'c')", "(): pass", "", "(): pass"),
    "a way out": ("net='internet'", "(): pass", "", "(): pass"),
    "a server, not used": ("", "(server): pass", "forward=None", "(server): pass"),
    "a server, used": ("", "(server): asks(server)", "forward=None", "(server): pass"),
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


def main() -> None:
    """Measure, and print two tables."""
    tests = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    print(f"{'milliseconds a test':24}{'median':>9}{'without':>9}{'price':>9}{'tenth':>9}", end="")
    print(f"{'without':>9}{'price':>9}")
    for name, (marker, body, other_marker, other_body) in _PAIRS.items():
        times = _times((marker, body), (other_marker, other_body), tests)
        line = f"{name:24}"
        for at in (0.5, 0.1):
            with_it, without = (sorted(each)[int(len(each) * at)] * 1000 for each in times)
            line += f"{with_it:9.2f}{without:9.2f}{with_it - without:9.2f}"
        print(line, flush=True)
    print(f"\n{'to a server':24}{'round trip':>12}{'throughput':>12}")
    for where, latency, speed in _speeds():
        print(f"{where:24}{latency * 1e6:9.1f} us{speed / 1e9:7.2f} GB/s")


def _times(
    one: tuple[str, str], other: tuple[str, str], tests: int
) -> tuple[list[float], list[float]]:
    """Give those of the tests of both kinds that stand between two of their own."""
    kinds = [number // _BLOCK % 2 for number in range(2 * tests * _BLOCK // (_BLOCK - 2))]
    text = _SERVER
    for number, kind in enumerate(kinds):
        marker, body = (one, other)[kind]
        text += f"@isolate({marker})\ndef test_{number}{body}\n"
    with tempfile.TemporaryDirectory() as directory:
        stamps = Path(directory) / "stamps.json"
        _run(directory, text, stamps)
        stamped: list[float] = json.loads(stamps.read_text())["stamps"]
    times = [after - before for before, after in itertools.pairwise(stamped)]
    inner = [at for at in range(2 * _BLOCK, len(kinds) - 1) if 0 < at % _BLOCK < _BLOCK - 1]
    of_one, of_other = ([times[at] for at in inner if kinds[at] == kind] for kind in (0, 1))
    return of_one, of_other


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
        [*command, "-p", "plugins.measure", *more],
        cwd=directory, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(done.stdout + done.stderr)


if __name__ == "__main__":
    main()
