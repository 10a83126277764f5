"""What pytest's own marks, ``skip`` and ``xfail``, say of a test."""

from __future__ import annotations

from typing import NoReturn

import pytest
from _pytest.skipping import evaluate_skip_marks, evaluate_xfail_marks


def is_skipped(item: pytest.Item) -> bool:
    """Whether a mark skips a test before anything of it runs.

    There is no public way to ask; what asking raises, the test will say.
    """
    if not _knows_marks(item):
        return False
    try:
        return evaluate_skip_marks(item) is not None
    except Exception:  # noqa: BLE001 - pytest fails such a test, whatever a condition raised
        return False
    except pytest.fail.Exception:
        return False


def _knows_marks(item: pytest.Item) -> bool:
    """Whether pytest's own plugin for ``skip`` and ``xfail`` is there (-p no:skipping)."""
    return item.config.pluginmanager.hasplugin("skipping")


def is_not_run(item: pytest.Item) -> bool:
    """Whether ``xfail(run=False)`` ends a test before its fixtures, or its condition cannot be
    known.
    """
    if not _knows_marks(item):
        return False
    try:
        xfailed = evaluate_xfail_marks(item)
    except pytest.fail.Exception:
        return True
    return xfailed is not None and not xfailed.run


def skip_where_the_test_is(why: str) -> NoReturn:
    """As ``pytest.mark.skip`` does: ``pytest.skip`` names the line that calls it, which is ours and
    tells nobody which test it was.
    """
    raise pytest.skip.Exception(why, _use_item_location=True)
