"""What a test finds that is a fork of a pytest which has used this and that of the standard
library.
"""

from __future__ import annotations

import ctypes.util

import pytest

PARENT = """
import os, subprocess, sys
from pathlib import Path
def test_it():
    assert os.getppid() > 0
    assert Path(f"/proc/{os.getppid()}/comm").read_text().strip()
    said = subprocess.run([sys.executable, "-c", "import os; print(os.getppid())"], capture_output=True, text=True, check=True)
    assert int(said.stdout) == os.getpid()
    own = os.getpid()
    if not (pid := os.fork()):
        os._exit(os.getppid() != own)
    assert os.waitpid(pid, 0)[1] == 0
"""


def test_a_test_has_a_parent(pytester, isolated):
    """The kernel says 0 for one that is outside; for those that the test starts it is the test."""
    pytester.makepyfile(PARENT)
    isolated("--isolate-all").assert_outcomes(passed=1)


WARMED = """
import multiprocessing, os
from multiprocessing import shared_memory
context = multiprocessing.get_context("forkserver")
OUTSIDE = os.readlink("/proc/self/ns/pid")
def pytest_configure():
    global memory
    memory = shared_memory.SharedMemory(create=True, size=8)
    process = context.Process(target=os.getpid)
    process.start()
    process.join()
def pytest_unconfigure():
    memory.close()
    memory.unlink()
"""
WARMED_TESTS = """
import os
from multiprocessing import resource_tracker, shared_memory
import conftest
def where(queue): queue.put(os.readlink("/proc/self/ns/pid"))
def test_forkserver():
    queue = conftest.context.SimpleQueue()
    process = conftest.context.Process(target=where, args=(queue,))
    process.start()
    assert queue.get() == os.readlink("/proc/self/ns/pid") != conftest.OUTSIDE
    process.join()
    assert process.exitcode == 0
def test_names():
    left = shared_memory.SharedMemory(create=True, size=8, name=f"isolate-{os.getpid()}-left")
    other = shared_memory.SharedMemory(create=True, size=8)
    resource_tracker.ensure_running()
    other.unlink()
    third = shared_memory.SharedMemory(create=True, size=8)
    third.unlink()
"""


@pytest.mark.filterwarnings("ignore")
def test_forkserver_and_resource_tracker_of_pytest_stay_its_own(pytester, isolated):
    """What a test starts by them starts inside; what it registers is not unlinked, or complained
    of, outside.
    """
    pytester.makeconftest(WARMED)
    pytester.makepyfile(WARMED_TESTS)
    result = isolated("--isolate-all", "-s", "--isolate-leaks=ignore")
    result.assert_outcomes(passed=2)
    for text in ("leaked", "Traceback"):
        result.stderr.no_fnmatch_line(f"*{text}*")
        result.stdout.no_fnmatch_line(f"*{text}*")


POOLS = """
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing.pool import Pool, ThreadPool
go = threading.Event()
threads, busy, processes = ThreadPoolExecutor(4, "warm"), ThreadPoolExecutor(2, "busy"), ProcessPoolExecutor(1)
threads.submit(int).result()
processes.submit(int).result()
busy.submit(go.wait)
pool, thread_pool = Pool(1), ThreadPool(1)
def pytest_unconfigure():
    go.set()
    for each in threads, busy, processes: each.shutdown()
    for each in pool, thread_pool: each.terminate()
"""
POOLS_TESTS = """
import pytest, conftest
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.pool import ThreadPool
@pytest.mark.parametrize("name, thread", [("threads", "warm_0"), ("processes", "[^']+"), ("pool", "[^']+"), ("thread_pool", "[^']+")])
def test_warmed(name, thread):
    pool = getattr(conftest, name)
    with pytest.raises(RuntimeError, match=f"'{thread}'.*fixtures='fresh'"):
        pool.apply(int) if hasattr(pool, "apply") else pool.submit(int)
def test_has_room(): assert conftest.busy.submit(len, "abc").result() == 3
def test_own():
    with ThreadPoolExecutor(1) as own: assert own.submit(len, "abc").result() == 3
    with ThreadPool(1) as own: assert own.apply(len, ("abc",)) == 3
"""


def test_work_for_a_pool_of_pytest_is_refused_where_nobody_would_do_it(pytester, isolated):
    """Its threads are not in the copy: a test would wait for them, without a
    ``timeout`` for ever.
    """
    pytester.makeconftest(POOLS)
    pytester.makepyfile(POOLS_TESTS)
    isolated("--isolate-all").assert_outcomes(passed=6)


HALF_IMPORTED = """
import threading
started, go = threading.Event(), threading.Event()
def load(): import halfway
thread = threading.Thread(target=load)
def pytest_configure():
    thread.start()
    started.wait()
def pytest_unconfigure():
    go.set()
    thread.join()
"""


def test_a_module_that_a_thread_was_importing_can_be_imported(pytester, isolated):
    """The thread is not in the copy, nor will it ever be done: the module is imported anew."""
    pytester.makeconftest(HALF_IMPORTED)
    pytester.makepyfile(
        halfway=(
            "import conftest\nif not conftest.started.is_set():\n    conftest.started.set()\n   "
            " conftest.go.wait()\nvalue = 1"
        ),
        test_it="def test_it():\n    import halfway\n    assert halfway.value == 1",
    )
    isolated("--isolate-all").assert_outcomes(passed=1)


LOOP = """
import asyncio, threading, time, pytest
@pytest.fixture(scope="module")
def loop():
    loop = asyncio.new_event_loop()
    loop.run_until_complete(asyncio.sleep(0))
    yield loop
    async def wake():
        future = loop.create_future()
        threading.Timer(0.05, loop.call_soon_threadsafe, (future.set_result, 1)).start()
        loop.call_later(5, lambda: future.done() or future.set_result("woken by its own clock"))
        return await future
    assert loop.run_until_complete(wake()) == 1
    loop.close()
def test_closes_it(loop): loop.close()
@pytest.mark.isolate(timeout="5s")
def test_uses_it(loop): loop.run_until_complete(loop.run_in_executor(None, time.sleep, 0.05))
"""


def test_an_event_loop_that_a_test_closes_goes_on_in_pytest_and_in_other_tests(pytester, isolated):
    """What it waits for is in the kernel, in an object that all copies of it would share."""
    pytester.makepyfile(LOOP)
    isolated("--isolate-all").assert_outcomes(passed=2)


REGIONS = """
import ctypes, threading
library = ctypes.CDLL("libgomp.so.1")
def region():
    seen = []
    body = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda _: seen.append(threading.get_native_id()))
    library.GOMP_parallel(body, None, 2, 0)
    return len(seen)
assert region() == 2
"""


def test_a_parallel_region_of_openmp_ends_in_a_test(pytester, isolated):
    """GNU's keeps its threads for the next region, and a copy of pytest would wait for those that
    it has not.
    """
    if ctypes.util.find_library("gomp") is None:
        pytest.skip("needs GNU's OpenMP, libgomp.so.1")
    pytester.makeconftest(REGIONS)
    pytester.makepyfile(
        "import conftest\ndef test_it(): assert conftest.region() == 2\ndef test_next(): assert"
        " conftest.region() == 2"
    )
    isolated("--isolate-all", "--isolate-timeout=5s").assert_outcomes(passed=2)
