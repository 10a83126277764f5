"""A Ctrl-C, or SIGTERM, on tests that hang: it is said where they stand, as in a plain run."""

from __future__ import annotations

import os
import re
import signal
import time

import pytest
from running import HEARING, Started

WAITING = """
import os, signal, threading, time, pytest
def helper():
    open("started", "w").write("x"); time.sleep(98765)
def test_before(): pass
def test_wait():
    helper()
"""
ALONE = WAITING.replace("def test_before(): pass\n", "")
IN_SETUP = """
import time, pytest
@pytest.fixture
def slow():
    open("started", "w").write("x"); time.sleep(98765)
def test_setup(slow): pass
"""
DEAF = """
import signal
def test_deaf():
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, signal.NSIG))
    open("started", "w").write("x"); signal.sigtimedwait([signal.SIGUSR1], 98765)
"""


@pytest.mark.parametrize(
    ("source", "line", "args"),
    [
        (WAITING, 4, ()),
        (WAITING, 4, ("--isolate-jobs=2",)),
        (ALONE, 4, ("--isolate-jobs=2",)),
        (WAITING, 4, ("--isolate-scope=module",)),
        (IN_SETUP, 5, ("--isolate-fixtures=fresh",)),
    ],
    ids=["one", "jobs", "jobs-alone", "group", "setup"],
)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_names_the_line_of_the_test(tmp_path, number, source, line, args):
    """With --full-trace its stack, whichever way tests run, in set-up as in call."""
    run = Started(tmp_path / "run", source, "", "--full-trace", *args)
    run.wait_for_test()
    os.kill(run.process.pid, number)
    output = run.end()
    assert run.process.returncode == pytest.ExitCode.INTERRUPTED, output
    said = ": SIGTERM" if number == signal.SIGTERM else ""
    # On a busy machine the test before may not have come to its end
    if source == WAITING and "--isolate-jobs=2" in args:
        said += r"(: test_it.py::test_wait, and beside it test_it.py::test_before \([^()]*\))?"
    assert re.search(
        rf"^E +KeyboardInterrupt{said}$\n\n^test_it.py:{line}: KeyboardInterrupt$",
        output,
        re.MULTILINE,
    ), output
    if source in {WAITING, ALONE}:
        assert re.search(
            rf"^> +helper\(\)$\n\n^test_it.py:{7 if source == WAITING else 6}: $",
            output,
            re.MULTILINE,
        ), output
    assert run.gone_within(2), run.alive()


def test_an_interruption_names_every_test_in_flight(tmp_path):
    """The first one's line as in a plain run, the others behind it."""
    source = """
import time
def test_a():
    open("started", "w").write("x"); time.sleep(98765)
def test_b():
    open("began", "w").write("x"); time.sleep(98765)
"""
    os.mkfifo(tmp_path / "began")
    run = Started(tmp_path / "run", source.replace('"began"', repr(str(tmp_path / "began"))), "",
                  "--isolate-jobs=2",
                  f"--isolate-bind={tmp_path}")  # fmt: skip
    run.wait_for_test()
    with (tmp_path / "began").open() as began:
        assert began.read() == "x"
    os.kill(run.process.pid, signal.SIGINT)
    output = run.end()
    said = (
        r"test_it.py:4: KeyboardInterrupt: test_it.py::test_a, and beside it test_it.py::test_b"
        r" \(\S*test_it.py:6\)"
    )
    assert re.search(said, output), output


def test_a_test_that_hears_nothing_holds_up_no_interruption(tmp_path):
    """It blocks every signal: then the line is our own."""
    run = Started(
        tmp_path / "run",
        DEAF,
        "import time\ndef pytest_keyboard_interrupt(): print('said', time.monotonic(), 'end')",
    )
    run.wait_for_test()
    began = time.monotonic()
    os.kill(run.process.pid, signal.SIGINT)
    output = run.end()
    assert run.process.returncode == pytest.ExitCode.INTERRUPTED, output
    assert float(re.search(r"said (\S+) end", output)[1]) - began < 3  # 0.5 on a quiet machine
    assert "KeyboardInterrupt" in output
    assert not re.search(r"test_it.py:\d", output)
    assert run.gone_within(2), run.alive()


def test_a_test_that_hears_nothing_keeps_nobody_from_being_heard(tmp_path):
    """The interruption comes where everybody is asked once."""
    directory = tmp_path / "run"
    directory.mkdir()
    os.mkfifo(directory / "deaf")
    source = DEAF.replace("started", "deaf") + ALONE.replace(
        "    helper()", "    open('deaf').read(1); helper()"
    )
    run = Started(directory, source, _as_ours(BEFORE_ANYBODY_HAS_IT), "--isolate-jobs=2")
    output = run.end()
    said = (
        r"test_it.py:9: KeyboardInterrupt: test_it.py::test_wait, and beside it"
        r" test_it.py::test_deaf \(which does not say where\)$"
    )
    assert re.search(said, output, re.MULTILINE), output
    assert run.gone_within(2), run.alive()


FORGES = """
import array, fcntl, os, signal, termios
def unread():
    found = {}
    for fd in map(int, os.listdir("/proc/self/fd")):
        try:
            if os.readlink(f"/proc/self/fd/{fd}").startswith("pipe:"):
                size = array.array("i", [0])
                fcntl.ioctl(fd, termios.FIONREAD, size)
                found[fd] = size[0]
        except OSError: pass  # the directory's own
    return found
def test_forges():
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, signal.NSIG))
    lines = ["Current thread 0x1 (most recent call first):", '  File "/dev/zero", line 9999999 in ' + "x" * 3000, "\\0\\udcff"]
    before = unread()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGRTMAX])  # by which it is asked where it stands
    signal.raise_signal(signal.SIGRTMAX)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGRTMAX])
    (stacks,) = (fd for fd, size in unread().items() if size > before[fd])
    os.read(os.open(f"/proc/self/fd/{stacks}", os.O_RDONLY), 1 << 16)  # what is true nobody hears
    os.write(stacks, "\\n".join(lines).encode("utf-8", "surrogateescape"))
    open("started", "w").write("x"); signal.sigtimedwait([signal.SIGUSR1], 98765)
"""


def test_a_place_that_a_test_makes_up_is_no_file_to_read(tmp_path):
    """What it writes where its stacks go is text: no device is opened to show a line of it."""
    run = Started(tmp_path / "run", FORGES, "", "--full-trace")
    run.wait_for_test()
    os.kill(run.process.pid, signal.SIGINT)
    output = run.end()
    assert run.process.returncode == pytest.ExitCode.INTERRUPTED, output
    assert "?:9999999: KeyboardInterrupt" in output
    assert "INTERNALERROR" not in output


def test_a_test_that_interrupts_the_run_shows_its_stack(pytester, isolated):
    """As in a plain run, with the frames between the test and the line."""
    pytester.makepyfile(
        test_it="def helper():\n    raise KeyboardInterrupt('why')\ndef test_a():\n    helper()\n"
    )
    result = isolated("--isolate-all", "--full-trace")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert re.search(r"^> +helper\(\)$\n\n^test_it.py:4: $", result.stdout.str(), re.MULTILINE)
    result.stdout.fnmatch_lines(
        ["E   KeyboardInterrupt: why", "", "test_it.py:2: KeyboardInterrupt*"]
    )


#: Has a Ctrl-C come at a step, once, when the test that waits has begun.
INTERRUPTED = (
    HEARING
    + """
import signal
def interrupt():
    with open("started") as started: started.read()
    os.kill(os.getpid(), signal.SIGINT)
"""
)
WHILE_IT_WAITS = INTERRUPTED + "at('wait', lambda nodeid: interrupt())\n"
WHILE_IT_FORKS = (
    INTERRUPTED
    + "os.register_at_fork(after_in_parent=lambda: os.getpid() == _pytest and interrupt())\n"
)
WHILE_ANOTHER_ENDS = (
    INTERRUPTED
    + """
def once(nodeid):
    at("over", print)
    interrupt()
at("over", once)
"""
)
BEFORE_ANYBODY_HAS_IT = (
    INTERRUPTED + "at('wait', lambda nodeid: nodeid.endswith('test_wait') and interrupt())\n"
)
WHILE_THE_NEXT_BEGINS = (
    INTERRUPTED + "at('request', lambda nodeid: nodeid.endswith('test_next') and interrupt())\n"
)

#: Hooks that are no lines of the project, so the conftest has the code of another file.
HELD_BEFORE_ITS_OWN_LINES = """
import time
def pytest_runtest_setup(item):
    if item.name == "test_before":
        open("held", "w").write("x"); time.sleep(98765)
"""
HELD_UNTIL_IT_IS_ASKED = """
import os, pytest
left = []
def pytest_runtest_setup(item):
    if item.name == "test_before":
        left.append(open("left", "w"))
        open("held", "w").write("x"); open("gate").read()
@pytest.hookimpl(wrapper=True)
def pytest_keyboard_interrupt():
    with open(os.open("left", os.O_RDONLY | os.O_NONBLOCK)) as until_it_ends:
        try: os.close(os.open("gate", os.O_WRONLY | os.O_NONBLOCK))
        except OSError: pass  # the signal met pytest between two waits, and it has ended both
        else:
            os.set_blocking(until_it_ends.fileno(), True)
            until_it_ends.read()
    yield
"""
RAISES_IN_OUR_LINES = """
def pytest_runtest_teardown(item):
    if item.name == "test_before":
        open("started").read()
        raise KeyboardInterrupt("mine")
"""


def _as_ours(conftest):
    return (
        f"import pytest_isolate.plugin as ours\nexec(compile({conftest!r}, ours.__file__, 'exec'))"
    )


def _as_installed(conftest):
    return f"exec(compile({conftest!r}, '/usr/lib/python3/dist-packages/some_plugin.py', 'exec'))"


@pytest.mark.parametrize(
    "conftest", [WHILE_ANOTHER_ENDS, BEFORE_ANYBODY_HAS_IT, WHILE_THE_NEXT_BEGINS]
)
def test_an_interruption_between_two_waits_names_the_line_too(tmp_path, conftest):
    """With jobs pytest does something else most of the time, and no line of that says anything."""
    source = WAITING + "def test_next(): pass\n" if conftest == WHILE_THE_NEXT_BEGINS else WAITING
    run = Started(tmp_path / "run", source, _as_ours(conftest), "--full-trace", "--isolate-jobs=2")
    output = run.end()
    assert run.process.returncode == pytest.ExitCode.INTERRUPTED, output
    assert re.search(r"^> +helper\(\)$\n\n^test_it.py:7: $", output, re.MULTILINE), output
    assert re.search(
        r"^E +KeyboardInterrupt$\n\n^test_it.py:4: KeyboardInterrupt$", output, re.MULTILINE
    ), output
    assert run.gone_within(2), run.alive()


@pytest.mark.parametrize(
    "conftest",
    [
        _as_ours(HELD_BEFORE_ITS_OWN_LINES),
        _as_installed(HELD_BEFORE_ITS_OWN_LINES),
        _as_ours(HELD_UNTIL_IT_IS_ASKED),
    ],
    ids=["ours", "plugin", "ends"],
)
def test_a_test_that_stands_in_its_own_lines_is_named_first(tmp_path, conftest):
    """One that is before or behind them comes after it; and nobody is asked twice, when somebody
    may have ended meanwhile.
    """
    directory = tmp_path / "run"
    directory.mkdir()
    for fifo in ("held", "gate", "left"):
        os.mkfifo(directory / fifo)
    run = Started(directory, WAITING, conftest, "--isolate-jobs=2")
    if "left.append" in conftest:
        with (directory / "left").open():  # or it waits for ever for who reads
            pass
    with (directory / "held").open() as held:
        assert held.read() == "x"
    run.wait_for_test()
    os.kill(run.process.pid, signal.SIGINT)
    output = run.end()
    assert run.process.returncode == pytest.ExitCode.INTERRUPTED, output
    said = (
        r"test_it.py:4: KeyboardInterrupt: test_it.py::test_wait, and beside it"
        r" test_it.py::test_before \(\S*plugin.py:\d\)$"
    )
    assert re.search(said, output, re.MULTILINE), output
    assert run.gone_within(2), run.alive()


DOCTEST = """
import time
def wait():
    '>>> _ = open("started", "w").write("x"); time.sleep(98765)'
def test_before(): pass
"""


def test_a_doctest_stands_in_lines_of_the_project(tmp_path):
    """Though no file has them."""
    conftest = (
        _as_ours(HELD_BEFORE_ITS_OWN_LINES)
        + "\ndef pytest_collection_modifyitems(items): items.reverse()\n"
    )
    run = Started(tmp_path / "run", DOCTEST, conftest, "--isolate-jobs=2", "--doctest-modules")
    run.wait_for_test()
    os.kill(run.process.pid, signal.SIGINT)
    output = run.end()
    said = (
        "<doctest test_it.wait[0]>:1: KeyboardInterrupt: test_it.py::test_it.wait, and beside it"
        " test_it.py::test_before"
    )
    assert said in output, output
    assert run.gone_within(2), run.alive()


def test_a_test_that_interrupts_the_run_keeps_its_line(tmp_path):
    """Whoever is in flight, and if it is one that says nothing."""
    source = WAITING + "def test_next(): pass\ndef test_last(): pass\n"
    run = Started(tmp_path / "run", source, _as_ours(RAISES_IN_OUR_LINES), "--isolate-jobs=2")
    output = run.end()
    assert run.process.returncode == pytest.ExitCode.INTERRUPTED, output
    assert re.search(r"plugin.py:5: KeyboardInterrupt: mine$", output, re.MULTILINE), output
    assert run.gone_within(2), run.alive()


def test_a_hook_that_interrupts_the_run_keeps_its_line(tmp_path):
    """It is somebody's own code that says why the run ends, whoever is in flight."""
    conftest = """
def is_wanted():

    with open("started") as started: started.read()
    raise KeyboardInterrupt("mine")
"""
    source = (
        "import conftest, pytest\n@pytest.mark.skipif('conftest.is_wanted()', reason='never')\ndef"
        " test_next(): pass\n"
    )
    run = Started(tmp_path / "run", WAITING + source, conftest, "--isolate-jobs=2")
    output = run.end()
    assert run.process.returncode == pytest.ExitCode.INTERRUPTED, output
    assert re.search(r"conftest.py:5: KeyboardInterrupt: mine$", output, re.MULTILINE), output
    assert run.gone_within(2), run.alive()


@pytest.mark.parametrize(
    ("conftest", "args"),
    [(WHILE_IT_WAITS, ()), (WHILE_IT_FORKS, ()), (WHILE_IT_FORKS, ("--isolate-jobs=2",))],
    ids=["after", "fork", "fork-jobs"],
)
def test_an_interruption_before_pytest_waits_names_the_line_too(tmp_path, conftest, args):
    """The test runs from its fork on, and pytest has other things to do first; while it forks a
    signal waits.
    """
    run = Started(tmp_path / "run", WAITING.replace("def test_before(): pass", ""), conftest, *args)
    output = run.end()
    assert run.process.returncode == pytest.ExitCode.INTERRUPTED, output
    assert "test_it.py:4: KeyboardInterrupt" in output
    assert run.gone_within(2), run.alive()


WHILE_FORKING = """
import os, signal
numbers = []
def send():
    while numbers: os.kill(os.getpid(), numbers.pop())
os.register_at_fork(before=send, after_in_parent=send)
"""


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (signal.SIGINT, "*.py:6: KeyboardInterrupt"),
        (signal.SIGTERM, "*.py:*: KeyboardInterrupt: SIGTERM"),
    ],
)
def test_an_interruption_while_a_shared_fixture_forks_is_not_lost(pytester, isolated, number, said):
    """It comes when the fork is over, where the fixture stands: what a handler raises within a hook
    of a fork is printed and forgotten.
    """
    # Before the plugin's own hooks: behind them on the way to the fork, before them on the way back
    pytester.makeconftest(WHILE_FORKING)
    pytester.makepyfile(f"""
        import conftest, os, pytest
        def test_first(): pass
        @pytest.fixture(scope="module")
        def forks():
            conftest.numbers.append({int(number)})
            os.fork() or os._exit(0)
        def test_second(forks): pass
        def test_third(): pass
    """)
    result = isolated("--isolate-all")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([said])
    assert "Unraisable" not in result.stdout.str()
