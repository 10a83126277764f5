"""Processes that shared fixtures started, seen from inside: the objects that stand for them say
what is.
"""

from __future__ import annotations

FIXTURES = """
import asyncio, multiprocessing, os, signal, subprocess, sys, threading, time, pytest
ECHO = "import sys\\nfor line in sys.stdin:\\n    if line == 'quit\\\\n': sys.exit(7)\\n    print(line.strip().upper(), flush=True)"
@pytest.fixture(scope="module")
def echo():
    with subprocess.Popen([sys.executable, "-c", ECHO], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        assert process.poll() is None
        process.kill()
@pytest.fixture(scope="module")
def ending():
    with subprocess.Popen([sys.executable, "-c", ECHO], stdin=subprocess.PIPE, text=True) as process:
        yield process
        assert process.wait(timeout=20) == 7
@pytest.fixture(scope="module")
def of_a_thread():
    started, go, processes = threading.Event(), threading.Event(), []
    def start_and_stay():
        processes.append(subprocess.Popen(["cat"], stdin=subprocess.PIPE))
        started.set()
        go.wait()
    thread = threading.Thread(target=start_and_stay)
    thread.start()
    started.wait()
    with processes[0] as process:
        yield process
    go.set()
    thread.join()
@pytest.fixture(scope="module")
def ended():
    process = subprocess.Popen(["sh", "-c", "exit 3"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    yield process
    assert process.wait() == 3
"""

POPEN = (
    FIXTURES
    + """
def test_runs(echo):
    assert echo.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        echo.wait(timeout=0.01)
    echo.stdin.write("abc\\n")
    echo.stdin.flush()
    assert echo.stdout.readline() == "ABC\\n"
@pytest.mark.parametrize("how", ["terminate", "kill", "send_signal"])
def test_gets_no_signal(echo, how):
    with pytest.raises(PermissionError, match=f"process {echo.pid} .*for line in sys.stdin.* fixtures='fresh'"):
        getattr(echo, how)(*[signal.SIGINT] * (how == "send_signal"))
    assert echo.poll() is None
def test_number_is_anothers_inside(echo):
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as other:
        echo.pid = other.pid
        echo.kill()
        time.sleep(0.01)
        assert other.poll() is None
        other.kill()
        assert other.wait() == -signal.SIGKILL
@pytest.mark.filterwarnings("ignore:isolate. the module-scoped fixture:pytest.PytestWarning")
def test_that_a_thread_started(of_a_thread): assert of_a_thread.poll() is None
def test_ended(ended):
    assert ended.poll() == ended.wait(timeout=5) == ended.returncode == 3
    ended.kill()
def test_sees_it_end(ending):
    ending.stdin.write("quit\\n")
    ending.stdin.flush()
    assert ending.wait(timeout=20) == (7 if os.geteuid() == 0 else 0)
    ending.terminate()
"""
)


def test_a_popen_of_a_shared_fixture_is_alive_and_gets_no_signal(pytester, isolated):
    """A signal would go to nobody, or to whoever has that number inside.

    An end is seen, with its status as root.
    """
    pytester.makepyfile(POPEN)
    isolated("--isolate-all").assert_outcomes(passed=8)


PROCESSES = (
    FIXTURES
    + """
@pytest.fixture(scope="module", params=["fork", "spawn", "forkserver"])
def process(request):
    process = multiprocessing.get_context(request.param).Process(target=time.sleep, args=(60,), name="the-sleeper", daemon=True)
    process.start()
    yield process
    assert process.is_alive()
    process.terminate()
    process.join()
    assert process.exitcode == -signal.SIGTERM
def test_runs(process):
    assert process.is_alive() and process.exitcode is None and process in multiprocessing.active_children()
    process.join(0.01)
    with pytest.raises(PermissionError, match="the-sleeper.*fixtures='fresh'"):
        process.terminate()
    with pytest.raises(PermissionError, match="the-sleeper.*fixtures='fresh'"):
        process.kill()
    assert process.is_alive()
def test_own():
    own = multiprocessing.get_context("fork").Process(target=os.getppid)
    own.start()
    own.join()
    assert own.exitcode == 0
@pytest.fixture(scope="module")
def task():
    async def start():
        return await asyncio.create_subprocess_exec("cat", stdin=subprocess.PIPE)
    async def end(process):
        process.kill()
        await process.wait()
    loop = asyncio.new_event_loop()
    process = loop.run_until_complete(start())
    yield process
    loop.run_until_complete(end(process))
    loop.close()
def test_task(task):
    for signal_it in task.terminate, task.kill, lambda: task.send_signal(signal.SIGINT):
        with pytest.raises(PermissionError, match="cat.*fixtures='fresh'"):
            signal_it()
    assert task.returncode is None
"""
)


def test_a_multiprocessing_or_asyncio_process_of_a_shared_fixture_is_alive_and_gets_no_signal(
    pytester, isolated
):
    """``Process`` fails an assertion of its own where it is not the child of who asks."""
    pytester.makepyfile(PROCESSES)
    isolated("--isolate-all").assert_outcomes(passed=5)
