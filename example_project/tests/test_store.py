"""The store on a disk of limited size."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from pytest_isolate import isolate

from pantry.store import Store

if TYPE_CHECKING:
    from pathlib import Path


@isolate
def test_remembers_what_was_put_and_forgets_what_was_removed(tmp_path: Path) -> None:
    """A store that is opened again is in the state in which it was closed."""
    with closing(Store(tmp_path)) as store:
        store.put("kept", "old")
        store.put("kept", "new")
        store.put("removed", "1")
        store.remove("removed")
    with closing(Store(tmp_path)) as store:
        assert (store.keys(), store.get("kept"), store.get("removed")) == (["kept"], "new", None)


@isolate
def test_starts_empty(tmp_path: Path, store: Store) -> None:
    """``tmp_path`` is this test's own: nothing of another test's is in it."""
    assert [each.name for each in tmp_path.iterdir()] == ["store"]
    assert store.keys() == []


@isolate(disk="4M")
def test_needs_no_more_disk_than_the_present_values_do(tmp_path: Path) -> None:
    """12 MiB of changes to one key fit on a disk of 4 MiB, because the log is compacted
    at 1 MiB.
    """
    with closing(Store(tmp_path, compact_at=1 << 20)) as store:
        for number in range(192):
            store.put("key", str(number).zfill(64 << 10))
            assert store.size <= 1 << 20
        assert store.get("key") == "191".zfill(64 << 10)


@isolate
def test_leaves_nothing_behind_when_a_compaction_was_cut_short(store: Store) -> None:
    """What a crashed compaction wrote is not taken for data."""
    (store.directory / "pantry.log.new").write_text("half a reco")
    store.put("key", "value")
    store.compact()
    store.close()
    assert [each.name for each in store.directory.iterdir()] == ["pantry.log"]
    with closing(Store(store.directory)) as again:
        assert again.get("key") == "value"
