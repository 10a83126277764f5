"""A pytest plugin (``-p plugins.floor``): the least that a fork per test can cost, with no
isolation and no reports at all.

Everything that pytest-isolate adds to a fork is measured against this.
"""

from __future__ import annotations

import gc
import os

import pytest
from _pytest.runner import runtestprotocol  # not public, but the very thing to be measured


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool:
    """Fork, run the test in the child, wait for it."""
    # A collection in the child would write to every object and so copy all of the heap; a floor
    # with that would flatter us.
    gc.freeze()
    pid = os.fork()
    if pid == 0:
        passed = False
        try:
            passed = all(
                report.passed for report in runtestprotocol(item, log=False, nextitem=nextitem)
            )
        finally:
            os._exit(0 if passed else 1)
    gc.unfreeze()
    _, status = os.waitpid(pid, 0)
    if status:
        pytest.exit(
            f"the floor's child of {item.nodeid} ended with wait status {status}", returncode=1
        )
    return True
