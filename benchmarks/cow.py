"""What a write costs to a page that a fork shares, while the child lives and after it: ``python
benchmarks/cow.py``.
"""

from __future__ import annotations

import mmap
import os
import statistics
import time

_PAGES, _ROUNDS = 1290, 60


def _write(memory: mmap.mmap, value: int) -> float:
    begun = time.perf_counter()
    for page in range(_PAGES):
        memory[page * mmap.PAGESIZE] = value
    return time.perf_counter() - begun


def main() -> None:
    """Write to the same pages without a fork, with a living child, and after a child's end."""
    memory = mmap.mmap(-1, _PAGES * mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_NOHUGEPAGE)
    _write(memory, 1)
    alive, ended = [], []
    for value in range(_ROUNDS):
        without = _write(memory, value)
        waits, go = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.read(waits, 1)
            os._exit(0)
        alive.append(_write(memory, value) - without)
        os.write(go, b"x")
        os.waitpid(pid, 0)
        if (pid := os.fork()) == 0:
            os._exit(0)
        os.waitpid(pid, 0)
        ended.append(_write(memory, value) - without)
        os.close(waits)
        os.close(go)
    for name, seconds in (("while the child lives", alive), ("after its end", ended)):
        middle = statistics.median(seconds)
        print(
            f"{_PAGES} pages {name:22} {middle * 1e3:5.2f} ms, {middle / _PAGES * 1e6:4.2f} µs a"
            " page"
        )


if __name__ == "__main__":
    main()
