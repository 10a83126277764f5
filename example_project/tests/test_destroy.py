"""Deleting directories of the machine, which then are still there.

The directory is a canary that these tests made for themselves: without isolation nothing else is
lost.
"""

from __future__ import annotations

import subprocess
from contextlib import closing
from typing import TYPE_CHECKING

from pytest_isolate import isolate

from pantry.store import Store

if TYPE_CHECKING:
    from pathlib import Path


@isolate
def test_destroys_its_directory(canary: Path) -> None:
    """``destroy`` deletes the whole directory, as far as this test can see."""
    with closing(Store(canary)) as store:
        assert store.get("bird") == "sings"
        store.destroy()
    assert not canary.exists()


@isolate
def test_starts_anew_where_a_careless_script_was(canary: Path) -> None:
    """``rm -rf`` reaches this test's own view only, and so does what is put in its place."""
    subprocess.run(["rm", "-rf", "--", canary], check=True)  # noqa: S603, S607 - a canary's path, and PATH's rm
    assert not canary.exists()
    with closing(Store(canary)) as store:
        assert store.keys() == []
        store.put("bird", "is another")


def test_finds_all_in_place_afterwards(canary: Path) -> None:
    """A plain test, outside: nothing was deleted and nothing was changed."""
    with closing(Store(canary)) as store:
        assert (store.keys(), store.get("bird")) == (["bird"], "sings")
