"""What an exchange of small pages for huge ones costs, and what it saves each fork: ``python
benchmarks/huge_pages.py``.

The forks are bare: ``os.fork``, ``os._exit``, ``os.waitpid``, and nothing is written between.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

from pytest_isolate._linux import huge_pages

_SIZES = (40, 100, 300, 1000)  # MB
_PIECE = 1 << 18  # bytes, each written before the next is mapped, as Python's own heap grows
_FORKS = 101


def main() -> None:
    """Measure each size in a process of its own, and print."""
    print("resident    a fork    after it    exchange    paid back after", flush=True)
    for size in _SIZES:
        subprocess.run([sys.executable, __file__, str(size)], check=True)


def _measure(megabytes: int) -> None:
    held = [bytearray(b"\1") * _PIECE for _ in range((megabytes << 20) // _PIECE)]
    small = _fork()
    began = time.perf_counter()
    huge_pages.exchange()
    exchange = time.perf_counter() - began
    huge = _fork()
    assert held
    forks = f"{exchange / (small - huge):10.0f} forks" if small > huge else "     never"
    print(
        f"{megabytes:5} MB {small * 1e3:7.2f} ms {huge * 1e3:8.2f} ms {exchange * 1e3:8.1f} ms"
        f" {forks}"
    )


def _fork() -> float:
    """Seconds, the median."""
    found = []
    for _ in range(_FORKS):
        began = time.perf_counter()
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
        found.append(time.perf_counter() - began)
    return statistics.median(found)


if __name__ == "__main__":
    if sys.argv[1:]:
        _measure(int(sys.argv[1]))
    else:
        main()
