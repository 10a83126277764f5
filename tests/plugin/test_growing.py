"""What a long run holds at its end: of each test what its reports need, and no garbage that a plain
run would have collected.
"""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.anybody

STAYS = """
import collections, gc

def pytest_terminal_summary(terminalreporter):
    gc.collect()
    names = collections.Counter(type(each).__name__ for each in gc.get_objects())
    of_one_test = ["IsolatedTest", "Finished", "Judged", "Sandbox", "Supervisor", "Evidence", "Verdict", "traceback"]
    wanted = ["Entry", "Crashed", "ProcessesLeaked", *of_one_test]
    terminalreporter.write_line("stays: " + " ".join(f"{name}={names[name]}" for name in wanted))
"""


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_of_a_test_that_was_reported_its_entry_stays(pytester, isolated, jobs):
    """An entry has its violations, and these no traceback: its frames would hold the test, the
    sandbox and all that was read of it.
    """
    pytester.makeconftest(STAYS)
    pytester.makepyfile("""
        import os, pytest
        @pytest.mark.parametrize("number", range(4))
        class TestEach:
            def test_passes(self, number, tmp_path): pass
            def test_fails(self, number): assert number > 5
            def test_leaves(self, number): os._exit(0)
            @pytest.mark.isolate(leaks="error")
            def test_leaks(self, number):
                if os.fork() == 0: os.execvp("sleep", ["sleep", "60"])
    """)
    result = isolated("--isolate-all", "-rN", f"--isolate-jobs={jobs}")
    result.assert_outcomes(passed=8, failed=8, errors=4)
    (line,) = [line for line in result.outlines if line.startswith("stays: ")]
    stays = {name: int(count) for name, count in (each.split("=") for each in line.split()[1:])}
    assert [stays.pop(name) for name in ("Entry", "Crashed", "ProcessesLeaked")] == [16, 4, 4]
    assert stays == dict.fromkeys(stays, 0)


def test_the_garbage_collector_of_pytest_goes_on_as_it_was(pytester, isolated):
    """Its counts are not reset by a fork, or it would never come to its older generations; and what
    a project froze stays frozen.
    """
    pytester.makeconftest("""
        import gc, pytest
        gc.disable()
        gc.freeze()
        frozen = gc.get_freeze_count()
        @pytest.fixture(scope="session", autouse=True)
        def counted():
            kept = [[] for _ in range(50_000)]
            yield
            assert gc.get_count()[0] >= 50_000
            assert gc.get_freeze_count() >= frozen * 0.9  # some of it is gone by now
            assert not gc.isenabled()
    """)
    pytester.makepyfile("""
        import gc, conftest
        def test_one(): assert gc.get_freeze_count() > conftest.frozen + 50_000  # a copy of pytest in which no collection writes to it
        def test_two(): pass
    """)
    isolated("--isolate-all").assert_outcomes(passed=2)
