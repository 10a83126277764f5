"""Fixtures of both suites.

Those of session scope are set up once, in pytest's own process, outside of every sandbox.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pantry.log import Log, Record
from pantry.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store of this test's own."""
    with closing(Store(tmp_path / "store")) as store:
        yield store


@pytest.fixture(scope="session")
def canary() -> Iterator[Path]:
    """A store's directory on this machine, outside of pytest's own folders; still whole when all
    tests are over.
    """
    directory = Path(tempfile.mkdtemp(prefix="pantry-canary-"))
    try:
        with closing(Store(directory)) as store:
            store.put("bird", "sings")
        yield directory
        with closing(Store(directory)) as store:
            assert store.get("bird") == "sings", "a test reached the machine's own files"  # noqa: S101
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@dataclass(frozen=True)
class Catalogue:
    """What is dear to load, so that it is loaded once."""

    prices: dict[str, int]
    directory: Path  # of a store with the same prices
    loaded_by: int  # a process


_loads: list[Catalogue] = []


@pytest.fixture(scope="session")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    """The prices of a thousand products.

    No file of it stays open: an open file is shared with every copy.
    """
    directory = tmp_path_factory.mktemp("catalogue")
    prices = {f"product-{number}": number for number in range(1000)}
    with closing(Store(directory)) as store:
        for product, price in prices.items():
            store.put(product, str(price))
    _loads.append(Catalogue(prices, directory, os.getpid()))
    return _loads[-1]


@pytest.fixture
def catalogue_loads(catalogue: Catalogue) -> list[Catalogue]:
    """All catalogues that this process has loaded so far."""
    del catalogue  # asked for so that there is one
    return _loads


BIG_LOG_BYTES = 48 << 20


@pytest.fixture(scope="session")
def big_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of 48 MiB: the changes of three keys, 4 KiB each time."""
    directory = tmp_path_factory.mktemp("big")
    with closing(Log(directory / "part.log")) as log:
        for number in range(300):
            log.append(Record(f"key-{number % 3}", "x" * 4096))
    part = log.path.read_bytes()
    path = directory / "pantry.log"
    with path.open("wb") as file:
        while file.tell() < BIG_LOG_BYTES:
            file.write(part)
    return path
