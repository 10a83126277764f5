"""What a child of a running Python puts right, in a Python that names its private
things otherwise.
"""

from __future__ import annotations

import os
import sys
import threading
import traceback
from types import SimpleNamespace

import pytest

from pytest_isolate._forking import forked, own_processes


class Pool:
    """Of a Python that has no ``submit`` or ``_check_running``."""


KNOWN = {
    "multiprocessing.forkserver": SimpleNamespace(_forkserver=SimpleNamespace(_forkserver_pid=7)),
    "multiprocessing.resource_tracker": SimpleNamespace(
        _resource_tracker=SimpleNamespace(_fd=-1, _lock=object())
    ),
    "joblib.externals.loky.backend.resource_tracker": SimpleNamespace(
        _resource_tracker=SimpleNamespace(_fd=-1)
    ),
    "concurrent.futures.thread": SimpleNamespace(
        _threads_queues={threading.current_thread(): None}
    ),
    "concurrent.futures.process": SimpleNamespace(
        _threads_wakeups={threading.current_thread(): None}, ProcessPoolExecutor=Pool
    ),
    "multiprocessing.pool": SimpleNamespace(Pool=Pool),
    "multiprocessing.process": SimpleNamespace(_children=(object(), SimpleNamespace(_popen=None))),
    "_frozen_importlib": SimpleNamespace(_module_locks={"a": lambda: None, "b": lambda: object()}),
    "asyncio.base_subprocess": SimpleNamespace(),
}


@pytest.mark.parametrize("module", KNOWN)
def test_a_private_name_that_is_another_costs_no_test(monkeypatch, module):
    """One name by which something is found, and none of those that are used for it then: nothing is
    done, and nothing raised.
    """
    monkeypatch.setitem(sys.modules, module, KNOWN[module])
    repairs = [*forked.repairs({}, threads=True), lambda: own_processes.adopt({})]
    if (pid := os.fork()) == 0:
        try:
            for repair in repairs:
                repair()
        except BaseException:  # this process must not go on as pytest
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
