"""A session fixture that every test may spoil: each gets a copy. In the order of this file."""

from __future__ import annotations

import os
from contextlib import closing
from typing import TYPE_CHECKING

from pytest_isolate import isolate

from pantry.store import Store

if TYPE_CHECKING:
    from conftest import Catalogue

KEY = "product-7"


@isolate
def test_gives_everything_away(catalogue: Catalogue) -> None:
    """Changes are there for the test that makes them, in memory and on disk."""
    catalogue.prices.clear()
    with closing(Store(catalogue.directory)) as store:
        store.put(KEY, "0")
    with closing(Store(catalogue.directory)) as store:
        assert store.get(KEY) == "0"


@isolate
def test_sees_nothing_of_what_the_test_before_changed(catalogue: Catalogue) -> None:
    """The next test's copy is as it was loaded, in memory and on disk."""
    assert (len(catalogue.prices), catalogue.prices[KEY]) == (1000, 7)
    with closing(Store(catalogue.directory)) as store:
        assert store.get(KEY) == "7"


@isolate
def test_did_not_load_it_itself(catalogue: Catalogue) -> None:
    """The catalogue was loaded outside of the sandbox."""
    assert catalogue.loaded_by != os.getpid()


def test_was_loaded_once(catalogue: Catalogue, catalogue_loads: list[Catalogue]) -> None:
    """A plain test, in pytest's own process, meets the one catalogue that all the others had copies
    of.
    """
    assert catalogue_loads == [catalogue]
    assert (catalogue.loaded_by, len(catalogue.prices)) == (os.getpid(), 1000)
