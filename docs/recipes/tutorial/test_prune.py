from pathlib import Path

import backup

from pytest_isolate import isolate


@isolate
def test_prune_keeps_the_newest():
    backup.prune(keep=1)
    assert [each.name for each in (Path.home() / "backups").iterdir()] == ["2026-01-03"]
