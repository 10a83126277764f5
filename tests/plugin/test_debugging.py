"""``--pdb``, ``--trace`` and ``breakpoint()``: on a terminal they work inside, elsewhere they are
refused in words.
"""

from __future__ import annotations

import pytest
from running import finished

FAILING = """
import pytest
@pytest.fixture
def value(): return 42
def test_debugged(value):
    here = value + 1
    assert here == 0
def test_next(): pass
"""
STOPPING = """
import os
def test_stops():
    inside = os.getpid()
    breakpoint()
    print("went on")
"""


def test_pdb_opens_where_the_test_failed(pytester, terminal):
    """Locals of the failing frame are there, the limit of time stands still, and the run goes on
    afterwards.
    """
    pytester.makepyfile(FAILING)
    child = terminal("--pdb", "--isolate-timeout=1")
    child.expect(r"\(Pdb\)")
    child.sendline("import time; print('slept', time.sleep(1.5), here)")
    child.expect(r"slept None 43")
    child.sendline("c")
    assert "1 failed, 1 passed" in finished(child)


def test_quitting_the_debugger_ends_the_run(pytester, terminal):
    """As in a plain run."""
    pytester.makepyfile(FAILING)
    child = terminal("--pdb")
    child.expect(r"\(Pdb\)")
    child.sendline("q")
    assert "Quitting debugger" in finished(child)


@pytest.mark.parametrize("arguments", [(), ("--trace",)])
def test_breakpoint_stops_inside_the_sandbox(pytester, terminal, arguments):
    """The debugger runs in the sandbox's process, and the test goes on when told to."""
    pytester.makepyfile(STOPPING)
    child = terminal("-rP", *arguments)
    child.expect(r"\(Pdb\)")
    if arguments:
        child.sendline("c")
        child.expect(r"\(Pdb\)")
    child.sendline("print('pid is', os.getpid())")
    child.expect("pid is [2-9]\r")
    child.sendline("c")
    said = finished(child)
    assert "went on" in said
    assert "1 passed" in said


def test_interrupting_a_debugger_does_not_end_pytest(pytester, terminal):
    """Ctrl-C on the terminal is the debugger's, which comes back with its prompt."""
    pytester.makepyfile(FAILING)
    child = terminal("--pdb")
    child.expect(r"\(Pdb\)")
    child.sendline(r"exec('print(6 * 7)\nwhile True: pass')")
    # Before it, the terminal would throw the line away with the interruption, and readline could
    # miss that
    child.expect("42")
    child.sendintr()
    child.expect(r"\(Pdb\)")
    child.sendline("c")
    assert "1 failed, 1 passed" in finished(child)


@pytest.mark.parametrize("option", ["--pdb", "--trace"])
def test_without_a_terminal_a_debugger_is_refused_before_the_first_test(pytester, isolated, option):
    """The sentence says why and what helps; plain tests are not concerned."""
    pytester.makepyfile(FAILING)
    refused = isolated("--isolate-all", option)
    assert refused.ret == pytest.ExitCode.USAGE_ERROR
    refused.stderr.fnmatch_lines(["*--pdb and --trace need a terminal*--isolate-off"])
    assert isolated(option, "-k", "next").ret != pytest.ExitCode.USAGE_ERROR


def test_without_a_terminal_breakpoint_fails_the_test_in_words(pytester, isolated):
    """No hang, no run quit in the middle."""
    pytester.makepyfile(STOPPING, test_other="def test_other(): pass")
    result = isolated("--isolate-all")
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["isolate: breakpoint() in an isolated test needs a terminal*"])


@pytest.mark.needs("strict")
@pytest.mark.parametrize(("profile", "reached"), [("default", True), ("strict", False)])
def test_signals_to_the_debuggers_process_group(pytester, terminal, profile, reached):
    """To be interrupted by Ctrl-C a test stays in pytest's process group, which is then its own to
    signal; a strict one has no debugger.
    """
    pytester.makeconftest("""
        import os, signal
        pytests = os.getpid()
        signal.signal(signal.SIGUSR2, lambda *_: os.getpid() == pytests and open("reached", "w"))
    """)
    pytester.makepyfile("import os, signal\ndef test_it(): os.killpg(0, signal.SIGUSR2)")
    said = finished(
        terminal("--pdb", *(["--isolate-profile=strict"] if profile == "strict" else []))
    )
    assert "1 passed" in said
    assert (pytester.path / "reached").exists() is reached
