"""``scope="class"`` and ``scope="module"``: tests share a sandbox as they share fixtures, and each
keeps its own verdict.
"""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.old

GROUP = """
import os, pytest
from pytest_isolate import isolate

HERE = os.path.dirname(__file__)

@isolate(scope="class", timeout=2)
class TestGroup:
    state = []
    def test_first(self):
        self.state.append("first")
        open(f"{HERE}/written", "w").close()
    def test_sees_the_first(self):
        assert self.state == ["first"] and os.path.exists(f"{HERE}/written")
    def test_fails(self): assert 0, "its own"
    def test_goes_on_after_a_failure(self): assert os.path.exists(f"{HERE}/written")
    @pytest.mark.skip
    def test_skipped(self): raise RuntimeError
    @pytest.mark.xfail
    def test_xfails(self): assert 0
    @pytest.mark.parametrize("number", [1, 2])
    def test_parameters(self, number, tmp_path): assert os.path.exists(f"{HERE}/written") and not os.listdir(tmp_path)
    def test_teardown_fails(self, request): request.addfinalizer(lambda: 1 / 0)
    def test_last(self): assert os.path.exists(f"{HERE}/written")

def test_outside(): assert not os.path.exists(f"{HERE}/written")
"""

DYING = """
import os, pytest
from pytest_isolate import isolate

pytestmark = isolate(scope="module", timeout=2)
FILE = os.path.dirname(__file__) + "/written"

def test_before(): open(FILE, "w").close()
def test_{name}(): {body}
def test_after(): assert not os.path.exists(FILE); open(FILE, "w").close()
def test_last(): assert os.path.exists(FILE)
"""


def test_tests_of_a_class_share_a_sandbox_and_nothing_leaves_it(pytester, outcomes):
    """Later tests see what earlier ones wrote and hold in memory; outcomes are those of a plain run
    of the same class.
    """
    pytester.makepyfile(GROUP)
    assert outcomes(
        "--deselect",
        "test_tests_of_a_class_share_a_sandbox_and_nothing_leaves_it.py::test_outside",
        "--isolate-off",
    ) == outcomes(
        "--deselect", "test_tests_of_a_class_share_a_sandbox_and_nothing_leaves_it.py::test_outside"
    )
    (pytester.path / "written").unlink()  # by the plain run
    assert [case for case in outcomes("-k", "outside or first") if len(case) > 1] == []
    assert not (pytester.path / "written").exists()


@pytest.mark.parametrize(
    ("name", "body", "resource"),
    [
        ("dies", "os._exit(0)", "crash"),
        ("kills", "os.kill(os.getpid(), 9)", "crash"),
        ("hangs", "exec('while 1: pass')", "timeout"),
    ],
)
def test_a_dead_sandbox_fails_the_test_that_did_it_and_the_rest_runs_in_a_new_one(
    pytester, isolated, name, body, resource
):
    """One test fails, with its own violation; the tests behind it share a fresh sandbox."""
    pytester.makepyfile(DYING.format(name=name, body=body))
    isolated("--isolate-report=report.json").assert_outcomes(passed=3, failed=1)
    tests = json.loads((pytester.path / "report.json").read_text())["tests"]
    assert [[each["resource"] for each in test["violations"]] for test in tests] == [
        [],
        [resource],
        [],
        [],
    ]


def test_a_sandbox_that_dies_between_two_tests_does_not_fail_the_second(pytester, isolated):
    """A process that is killed after its test is over costs nobody a result: the second test gets a
    new sandbox.
    """
    pytester.makeconftest("""
        import os, select, signal

        def pytest_runtest_logfinish(nodeid):
            if nodeid.endswith("test_first"):  # in pytest itself: its youngest child holds the group
                with open(f"/proc/self/task/{os.getpid()}/children") as file:
                    pidfd = os.pidfd_open(int(file.read().split()[-1]))
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                poll = select.poll()
                poll.register(pidfd, select.POLLIN)
                poll.poll()
    """)
    pytester.makepyfile("""
        from pytest_isolate import isolate
        pytestmark = isolate(scope="module")
        state = []
        def test_first(): state.append(1)
        def test_second(): assert not state
        def test_third(): assert state
    """)
    result = isolated()
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(
        "sandbox: another than that of earlier tests of this module: that has ended since the test*"
    )


def test_a_test_in_a_new_sandbox_says_what_ended_that_of_the_others(pytester, isolated):
    """Each that fails there: what those before had left is gone, which may be why."""
    pytester.makepyfile(
        test_it="""
        import os
        from pytest_isolate import isolate
        @isolate(scope="class")
        class TestOne:
            state = []
            def test_first(self): self.state.append(1); assert 0
            def test_dies(self): os._exit(0)
            def test_after(self): assert self.state
            def test_last(self): assert self.state
        @isolate(scope="class")
        class TestTwo:
            def test_other(self): assert 0
        """
    )
    result = isolated()
    result.assert_outcomes(failed=5)
    lines, at, said = result.outlines, "", {}
    for line in lines:
        at = line.strip("_ ") if line.startswith("____") else at
        if line.startswith("sandbox:"):
            said[at] = line
    why = "that ended with test_it.py::TestOne::test_dies (crash)"
    expected = f"sandbox: another than that of earlier tests of this class: {why}"
    assert said == {"TestOne.test_after": expected, "TestOne.test_last": expected}


@pytest.mark.parametrize("comes_back", ["return", "assert 0", "raise KeyboardInterrupt"])
def test_a_fork_that_a_test_does_not_end_runs_no_further_test(pytester, isolated, comes_back):
    """It comes back into the copy of pytest that it is, and ends there: it neither takes the next
    test's turn nor says that one is over.
    """
    pytester.makepyfile(f"""
        import os, pytest
        from pytest_isolate import isolate
        pytestmark = isolate(scope="module", timeout="20s")
        forked = []
        @pytest.fixture
        def ended():
            yield
            if forked[0]: os.waitid(os.P_PID, forked[0], os.WEXITED | os.WNOWAIT)  # before the test itself says that it is over
        def test_forks(ended):
            forked.append(os.fork())
            if not forked[0]: {comes_back}
        def test_next(): assert not forked or os.waitpid(forked[0], 0)[1] == 0
    """)
    isolated().assert_outcomes(passed=2)


def test_usage_is_each_tests_own(pytester, isolated):
    """Processor time and bytes written count for the test that used them; a peak that was not
    exceeded is not known.
    """
    pytester.makepyfile("""
        import time
        from pytest_isolate import isolate
        pytestmark = isolate(scope="module")

        def test_heavy(tmp_path):
            while time.process_time() < 0.3: pass
            (tmp_path / "file").write_bytes(bytes(3 << 20))
        def test_light(): pass
    """)
    isolated("--isolate-report=report.json", "--isolate-all").assert_outcomes(passed=2)
    heavy, light = (
        test["usage"] for test in json.loads((pytester.path / "report.json").read_text())["tests"]
    )
    assert heavy["disk_bytes"] >= 3 << 20
    assert light["disk_bytes"] < 1 << 20
    assert light["wall_seconds"] < heavy["wall_seconds"]
    if heavy["cpu_seconds"] is not None:
        assert light["cpu_seconds"] < 0.3


def test_shared_fixtures_are_torn_down_once_and_at_the_end(pytester, isolated):
    """What the parent set up, it takes down; what the group set up inside, it takes down inside,
    after its last test.
    """
    pytester.makepyfile("""
        import os, pytest
        from pytest_isolate import isolate

        @pytest.fixture(scope="class")
        def early():
            print("EARLY UP"); yield; print("EARLY DOWN")
        @pytest.fixture(scope="class")
        def late():
            print("LATE UP"); yield; print("LATE DOWN")

        @isolate(scope="class")
        class TestGroup:
            def test_first(self, early): print("FIRST")
            def test_second(self, early, late): print("SECOND")
            def test_third(self, late): print("THIRD")
    """)
    said = [line for line in isolated("-s", "-q").outlines if line.lstrip(".").isupper()]
    assert [line.lstrip(".") for line in said] == [
        "EARLY UP",
        "FIRST",
        "LATE UP",
        "SECOND",
        "THIRD",
        "LATE DOWN",
        "EARLY DOWN",
    ]


@pytest.mark.parametrize("arguments", [(), ("-x",), ("-n", "2", "--dist", "loadscope")])
def test_a_group_ends_with_the_run(pytester, isolated, arguments):
    """Stopping early or running in workers leaves no process and loses no result."""
    pytester.makepyfile("""
        from pytest_isolate import isolate
        pytestmark = isolate(scope="module")
        def test_first(): pass
        def test_fails(): assert 0
        def test_third(): pass
    """)
    isolated(*arguments).assert_outcomes(passed=1 if "-x" in arguments else 2, failed=1)


LATE = """
import time
from pytest_isolate._child import inside
from pytest_isolate._sandbox import sampling, supervisor

write, look, by_word = inside._write, supervisor.Supervisor.look, []

def late(*arguments):  # once: pytest has looked by itself meanwhile, and seen the end
    inside._write = write
    time.sleep(3 * sampling.LOOK_AGAIN)
    write(*arguments)

def looking(self, ready):
    word = self._listener.ends.ended in ready
    look(self, ready)
    if self.over:
        by_word.append(word)

inside._write, supervisor.Supervisor.look = late, looking
def pytest_unconfigure(): print("by word:", by_word)
"""


def test_a_word_that_comes_late_makes_only_one_test_wait(pytester, isolated):
    """Of a test's end, when pytest has seen it already and the next test runs: all ends behind that
    one are seen as they come.
    """
    pytester.makeconftest(LATE)
    pytester.makepyfile(
        "import pytest\npytestmark = pytest.mark.isolate(scope='module')\n"
        + "".join(f"def test_{n}(): pass\n" for n in range(6))
    )
    result = isolated()
    result.assert_outcomes(passed=6)
    assert result.stdout.str().count("by word: [False, ") == 1
    assert ", True, True, True, True]" in result.stdout.str()
