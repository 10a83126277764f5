"""A pytest plugin (``-p plugins.resident``) that makes the test process as large as
``ISOLATE_BENCH_RESIDENT`` says, in MB.

fork(2) copies page tables, so its price grows with the memory of the process that forks.
"""

from __future__ import annotations

import os

import pytest

from plugins.measure import resident_bytes

RESIDENT = "ISOLATE_BENCH_RESIDENT"

# In pieces, each written before the next is mapped, as Python's own heap grows. One large block
# would get huge pages where the kernel gives them to everybody, and a fork copies one entry for
# each of those instead of 512.
_PIECE = 1 << 18  # bytes
_held: list[bytearray] = []


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Fill up, when everything else is loaded."""
    missing = (int(os.environ[RESIDENT]) << 20) - resident_bytes()
    _held.extend(bytearray(b"\1") * _PIECE for _ in range(max(0, missing) // _PIECE))
