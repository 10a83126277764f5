"""Plugins that change what a test does or how often it runs."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import xml.etree.ElementTree as ET

import pytest


@pytest.mark.plugins(pytest_timeout="timeout")
@pytest.mark.parametrize("method", ["signal", "thread"])
def test_timeout_ends_a_slow_test(run, method):
    """A late test fails (`signal`) with its message; with `thread`, which ends a plain run, its
    process ends.
    """
    files = {
        "test_slow.py": (
            """
            import threading, pytest
            @pytest.mark.timeout(4)
            def test_slow(): threading.Event().wait()
            @pytest.mark.timeout(60)
            def test_quick(): pass
            """
        )
    }
    plain = run("plain", files, "--isolate-off", f"--timeout-method={method}")
    isolated = run("isolated", files, "--isolate-all", f"--timeout-method={method}")
    if method == "signal":
        assert (isolated.status, isolated.cases) == (plain.status, plain.cases)
    else:
        assert ("test_slow", "test_quick") in isolated.cases
        assert isolated.count("its process exited with status 1") > 0
    message = "Failed: Timeout (>4.0s) from pytest-timeout" if method == "signal" else "+ Timeout +"
    assert isolated.count(message) == plain.count(message) > 0


@pytest.mark.plugins(pytest_timeout="timeout")
def test_timeout_in_a_fixture_and_by_ini(both):
    """The ini value, and a fixture that is late."""
    files = {
        "pytest.ini": "[pytest]\ntimeout = 4\n",
        "test_slow.py": (
            """
            import threading, pytest
            @pytest.fixture
            def slow(): threading.Event().wait()
            def test_slow(slow): pass
            def test_quick(): pass
            """
        ),
    }
    plain, isolated = both(files, tests=2)
    assert isolated.count("Failed: Timeout") == plain.count("Failed: Timeout") > 0


RERUN = {
    "test_flaky.py": (
        """
        import pytest
        runs = []
        @pytest.mark.flaky(reruns=3)
        def test_third_time():
            runs.append(1)
            assert len(runs) == 3
        def test_never(): assert 0
        def test_at_once(): pass
        """
    )
}


@pytest.mark.plugins(pytest_rerunfailures="rerunfailures", pytest_xdist="xdist")
def test_rerunfailures_waits_for_no_test(both):
    """The port at which it waits for workers of xdist is no server of a test's."""
    _, isolated = both(
        {"test_it.py": "def test_it(): pass"}, "--isolate-report=report.json", tests=1
    )
    (test,) = json.loads((isolated.directory / "report.json").read_text())["tests"]
    assert test["network"]["servers"] == []


@pytest.mark.plugins(pytest_rerunfailures="rerunfailures")
@pytest.mark.parametrize(
    "args", [(), ("--reruns=2",), ("--reruns=2", "--only-rerun=AssertionError")], ids=" ".join
)
def test_rerunfailures_reruns_as_often(both, args):
    """The number of reruns, by marker, option and exception."""
    # How many cases JUnit has is the plugin's matter
    plain, isolated = both(RERUN, "-rR", *args, tests=None)
    for word in ("rerun", "RERUN"):
        assert isolated.count(word) == plain.count(word) > 0
    assert re.search(r"\d+ rerun", isolated.output)[0] == re.search(r"\d+ rerun", plain.output)[0]


def _attempts(ran):
    """Each attempt as JUnit has it, in its order: name, outcome with message, output."""
    text = (ran.directory / "junit.xml").read_text().replace(str(ran.directory), "DIRECTORY")
    kinds = {"failure", "error", "system-out"}
    return [
        (
            case.get("name"),
            [
                (each.tag, each.get("message"), each.text * (each.tag == "system-out"))
                for each in case
                if each.tag in kinds
            ],
        )
        for case in ET.fromstring(text).iter("testcase")
    ]


@pytest.mark.plugins(pytest_rerunfailures="rerunfailures")
@pytest.mark.parametrize("jobs", [1, 2])
def test_rerunfailures_attempts_are_in_the_report(run, jobs):
    """How each failed that another one followed: by its own word, or because it was killed."""
    files = {
        "test_flaky.py": (
            """
            import os, pytest
            pytestmark = pytest.mark.flaky(reruns=2)
            def test_by_itself(request): assert request.node.execution_count == 3
            def test_killed(request):
                if request.node.execution_count == 1: os.abort()
                assert request.node.execution_count == 3, "the second time"
            """
        )
    }
    ran = run(
        "isolated", files, "--isolate-all", "--isolate-report=r.json", f"--isolate-jobs={jobs}"
    )
    tests = json.loads((ran.directory / "r.json").read_text())["tests"]
    by_itself, killed = ([each.splitlines() for each in test["retries"]] for test in tests)
    assert [each["outcome"] for each in tests] == ["passed", "passed"]
    assert [
        any(re.match(r"E +\w*: *assert|E +assert", line) for line in each) for each in by_itself
    ] == [True, True]
    assert any(line.startswith("E   Crashed: ") for line in killed[0])
    assert any("the second time" in line for line in killed[1])
    assert len(killed) == 2


@pytest.mark.plugins(pytest_rerunfailures="rerunfailures")
def test_rerunfailures_keeps_the_order_of_attempts(both):
    """Attempts in JUnit XML, failed in set-up or in call: their order, outcome, message
    and output.
    """
    files = {
        "test_flaky.py": (
            """
            import pytest
            runs = []
            @pytest.fixture
            def shaky():
                runs.append("setup")
                assert len(runs) > 1
            def test_setup(shaky): print("runs", len(runs))
            def test_call():
                runs.append("call")
                print("runs", runs.count("call"))
                assert runs.count("call") > 1
            def test_never(): assert 0
            @pytest.fixture
            def broken(): raise OSError("no such service")
            def test_error(broken): pass
            """
        )
    }
    plain, isolated = both(files, "--reruns=2", "-o", "junit_logging=all", tests=None)
    assert _attempts(isolated) == _attempts(plain)


@pytest.mark.plugins(pytest_rerunfailures="rerunfailures")
@pytest.mark.parametrize("dies", ["setup", "call", "teardown"])
def test_rerunfailures_and_a_death_in_a_later_attempt(run, dies):
    """A death in a later attempt is reported behind the attempts before it, in its phase and with
    all that it had said.
    """
    files = {
        "test_flaky.py": (
            f"""
            import os, pytest
            runs = []
            def say(phase):
                print("attempt", len(runs), phase)
                if len(runs) == 2 and phase == "{dies}": os.abort()
            @pytest.fixture
            def mortal():
                runs.append(1)
                say("setup")
                yield
                say("teardown")
            def test_flaky(mortal):
                say("call")
                assert len(runs) == 2
            """
        )
    }
    ran = run("isolated", files, "--isolate-all", "--reruns=1", "-o", "junit_logging=all")
    (first, [(said, _, output)]), (second, [(tag, message, _), *_, (_, _, last)]) = _attempts(ran)
    assert (first, said, second, tag) == (
        "test_flaky",
        "system-out",
        "test_flaky",
        "failure" if dies == "call" else "error",
    )
    assert "attempt 1 teardown" in output
    assert "attempt 2" not in output
    assert f"was ended by signal 6 (SIGABRT, Aborted) in {dies}, before" in message
    phases = ["setup", "call", "teardown"]
    assert [f"attempt 2 {phase}" in last for phase in phases] == [
        phases.index(phase) <= phases.index(dies) for phase in phases
    ]


@pytest.mark.plugins(pytest_rerunfailures="rerunfailures")
@pytest.mark.parametrize(
    "args",
    [(), ("--isolate-jobs=2",), ("--isolate-jobs=2", "--reruns-delay=0.1")],
    ids=["alone", "jobs", "jobs-delay"],
)
@pytest.mark.parametrize("dies", ["setup", "call", "teardown"])
def test_rerunfailures_runs_a_killed_test_again(run, dies, args):
    """A test that its first try did not survive is run again like any other: by signal, exit or a
    limit; shared fixtures are kept.
    """
    late = (
        "@isolate(timeout=3)\n            def test_late(request): die(request, 'call')"
        if dies == "call"
        else ""
    )
    files = {
        "conftest.py": (
            """
            import pathlib, pytest
            @pytest.fixture(scope="module")
            def wide():
                with pathlib.Path(__file__).with_name("events").open("a") as file: print("set up", file=file)
                yield
                with pathlib.Path(__file__).with_name("events").open("a") as file: print("tear down", file=file)
            """
        ),
        "test_flaky.py": (
            f"""
            import os, signal, threading, pytest
            from pytest_isolate import isolate
            def die(request, when):
                print("try", request.node.execution_count, when)
                if when == "{dies}" and request.node.execution_count == 1:
                    if request.node.name == "test_signal": os.kill(os.getpid(), signal.SIGKILL)
                    if request.node.name == "test_exit": os._exit(3)
                    if request.node.name == "test_late": threading.Event().wait()
                    if request.node.name == "test_fails": assert 0
            @pytest.fixture(autouse=True)
            def mortal(request, wide):
                die(request, "setup")
                yield
                die(request, "teardown")
            def test_signal(request): die(request, "call")
            def test_exit(request): die(request, "call")
            {late}
            def test_fails(request): die(request, "call")
            @pytest.mark.flaky(reruns=0)
            def test_never(request): assert request.node.execution_count == 1
            """
        ),
    }
    ran = run("isolated", files, "--isolate-all", "--reruns=2", *args)
    tests = 5 if late else 4
    assert len({case[1] for case in ran.cases}) == tests
    assert (
        _summary(ran.output).strip("= ")
        == f"{tests + (dies == 'teardown')} passed, {tests - 1} rerun"
    )
    assert ran.status == 0
    assert (ran.directory / "events").read_text().split("\n") == ["set up", "tear down", ""]


@pytest.mark.plugins(pytest_rerunfailures="rerunfailures")
def test_rerunfailures_gives_up_on_a_test_that_is_always_killed(run):
    """As often as asked for, then it fails in words; `--only-rerun` and `--rerun-except` look at
    the violation's class and words.
    """
    files = {"test_dies.py": "import os\ndef test_dies(): os.abort()\ndef test_behind(): pass\n"}
    counts = {}
    for condition in "", "--only-rerun=Crashed", "--only-rerun=OSError", "--rerun-except=Crashed":
        ran = run(
            f"run{condition}", files, "--isolate-all", "--reruns=2", *filter(None, [condition])
        )
        assert ran.status == 1
        assert "was ended by signal 6 (SIGABRT, Aborted) in call" in ran.output
        counts[condition] = _summary(ran.output).strip("= ")
    again, once = "1 failed, 1 passed, 2 rerun", "1 failed, 1 passed"
    assert counts == {
        "": again,
        "--only-rerun=Crashed": again,
        "--only-rerun=OSError": once,
        "--rerun-except=Crashed": once,
    }


@pytest.mark.plugins(pytest_rerunfailures="rerunfailures")
def test_rerunfailures_delays_a_killed_test_and_nobody_else(start, tmp_path):
    """With `--isolate-jobs`, while a killed test waits for its next attempt, those beside it keep
    to their limits and further ones run.
    """
    files = {
        "conftest.py": (
            """
            import os, pytest
            @pytest.fixture
            def meet():
                def meet(*names):
                    for name in sorted(names):
                        open(name, "w" if name == names[0] else "r").close()
                return meet
            """
        ),
        "test_flaky.py": (
            """
            import os, threading, pytest
            from pytest_isolate import isolate
            @pytest.mark.flaky(reruns=1, reruns_delay=98765)
            def test_killed(): os.abort()
            @isolate(timeout=1)
            def test_late(): threading.Event().wait()
            def test_one(meet): meet("there", "back")
            def test_other(meet):
                meet("back", "there")
                with open("both", "w") as both: both.write("x")
            def test_last(): pass
            """
        ),
    }
    directory = tmp_path / "isolated/project"
    directory.mkdir(parents=True)
    for name in ("there", "back", "both"):
        os.mkfifo(directory / name)
    report = tmp_path / "report.json"
    pytest_ = start(
        "isolated",
        files,
        "--isolate-all",
        "--isolate-jobs=2",
        f"--isolate-bind={directory}",
        f"--isolate-report={report}",
    )
    try:
        both = os.open(directory / "both", os.O_RDWR)
        assert select.select([both], [], [], 60)[0], "nobody flies while it waits"
        os.close(both)
        pytest_.send_signal(signal.SIGINT)
        output, _ = pytest_.communicate(timeout=60)
    finally:
        pytest_.kill()
    assert pytest_.returncode == pytest.ExitCode.INTERRUPTED, output
    assert _summary(output).strip("= ") == "1 rerun"
    assert [test["nodeid"] for test in json.loads(report.read_text())["tests"]] == [
        "test_flaky.py::test_killed"
    ]


@pytest.mark.plugins(pytest_rerunfailures="rerunfailures")
def test_rerunfailures_delays_grow_for_a_killed_test(run):
    """By `--reruns-delay` and its factor of growth, as the plugin reckons for the attempts that it
    makes itself.
    """
    files = {
        "conftest.py": (
            """
            from pytest_isolate._messages import reruns
            def pytest_collection_finish(session):
                print("delays", [reruns.delay_of(session.items[0], attempts) for attempts in (1, 2, 3)])
            """
        ),
        "test_it.py": "def test_it(): pass\n",
    }
    for args, delays in [
        ((), [0.0, 0.0, 0.0]),
        (("--reruns-delay=2", "--reruns-delay-backoff-factor=3"), [2.0, 6.0, 18.0]),
    ]:
        assert (
            f"delays {delays}"
            in run(
                "".join(args) or "none", files, "--isolate-all", "--reruns=3", "-s", *args
            ).output
        )


@pytest.mark.plugins(pytest_timeout="timeout")
def test_timeout_counts_set_up_of_shared_fixtures_as_plain(both):
    """A shared fixture that is late fails the test that it is set up for, and no time of a shared
    fixture is counted twice.
    """
    files = {
        "pytest.ini": "[pytest]\ntimeout = 4\n",
        "test_slow.py": (
            """
            import threading, pytest
            @pytest.fixture(scope="module")
            def slow(): threading.Event().wait()
            @pytest.fixture(scope="module")
            def half(): threading.Event().wait(1)
            def test_half(half): pass
            def test_slow(slow): pass
            def test_slow_again(slow): pass
            def test_quick(): pass
            """
        ),
    }
    plain, isolated = both(files, tests=4)
    assert isolated.count("Failed: Timeout") == plain.count("Failed: Timeout") > 0


@pytest.mark.plugins(pytest_repeat="repeat")
def test_repeat_repeats_as_often(both):
    """`--count` and its marker, with shared fixtures, in its order by scope."""
    files = {
        "test_repeated.py": (
            """
            import pytest
            runs = []
            @pytest.fixture(scope="module")
            def wide(): return 3
            def test_each(wide): runs.append(1); assert len(runs) == 1 or wide == 3
            @pytest.mark.repeat(3)
            class TestClass:
                def test_method(self, wide): assert wide == 4
            """
        )
    }
    plain, isolated = both(files, "-v", "--count=2", "--repeat-scope=class", tests=5)
    order = re.compile(r"^test_repeated.py::\S+ \w+", re.MULTILINE)
    assert order.findall(isolated.output) == order.findall(plain.output) != []


@pytest.mark.plugins(pytest_rerunfailures="rerunfailures", pytest_xdist="xdist")
def test_rerunfailures_in_workers(both):
    """The number of reruns with `-n 2`."""
    plain, isolated = both(RERUN, "--reruns=2", "-n2", tests=None)
    assert re.search(r"\d+ rerun", isolated.output)[0] == re.search(r"\d+ rerun", plain.output)[0]


@pytest.mark.plugins(pytest_randomly="randomly")
def test_randomly_orders_and_seeds_the_same(both):
    """Order of tests, and what `random` gives in fixtures and tests, for one seed."""
    files = {
        "test_random.py": (
            """
            import random, pytest
            @pytest.fixture(scope="module")
            def shared(): return random.random()
            @pytest.fixture
            def own(): return random.random()
            @pytest.mark.parametrize("number", range(8))
            def test_it(number, shared, own): print("GAVE", number, shared, own, random.random())
            """
        )
    }
    plain, isolated = both(files, "-rP", "-p", "randomly", "--randomly-seed=7", tests=8)
    lines = [line for line in plain.output.splitlines() if line.startswith("GAVE")]
    assert [line for line in isolated.output.splitlines() if line.startswith("GAVE")] == lines
    assert len(lines) == 8


@pytest.mark.plugins(pytest_mock="pytest_mock")
def test_mock_patches_and_undoes(both):
    """`mocker` of every scope, its assertion messages, and the undoing."""
    files = {
        "test_mock.py": (
            """
            import os, pytest
            @pytest.fixture(scope="module")
            def everywhere(module_mocker): return module_mocker.patch("os.getlogin", return_value="somebody")
            def test_patch(mocker):
                mocker.patch("os.getcwd", return_value="nowhere")
                assert os.getcwd() == "nowhere"
            def test_undone(): assert os.getcwd() != "nowhere"
            def test_module(everywhere): assert os.getlogin() == "somebody"
            def test_spy(mocker):
                spy = mocker.spy(os.path, "join")
                os.path.join("a", "b")
                spy.assert_called_once_with("a", "c")
            """
        )
    }
    both(files, tests=4)


@pytest.mark.plugins(pytest_socket="socket")
def test_socket_disables_the_same(both):
    """`--disable-socket`, its marker and its fixture."""
    files = {
        "test_socket.py": (
            """
            import socket, pytest
            def test_refused():
                with pytest.raises(Exception, match="socket"): socket.socket()
            def test_fails(): socket.socket()
            @pytest.mark.enable_socket
            def test_allowed(): socket.socket().close()
            def test_enabled(socket_enabled): socket.socket().close()
            """
        )
    }
    both(files, "--disable-socket", tests=4)


@pytest.mark.plugins(pytest_subtests="subtests")
def test_subtests_report_each(both):
    """Every subtest's own outcome and the counts of the summary."""
    files = {
        "test_sub.py": (
            """
            import unittest
            import pytest
            def test_some(subtests):
                for number in range(4):
                    with subtests.test(msg="one", number=number):
                        if number == 2: pytest.skip("two")
                        assert number != 1
            class TestCase(unittest.TestCase):
                def test_sub(self):
                    for number in range(2):
                        with self.subTest(number=number): self.fail()
            """
        )
    }
    plain, isolated = both(files, tests=None)  # how many cases JUnit has depends on the version
    assert _summary(isolated.output) == _summary(plain.output)


@pytest.mark.plugins(syrupy="syrupy")
def test_syrupy_compares_snapshots(both):
    """Snapshots that agree, differ or are missing (not counted in the plugin's own summary: a
    warning says so).
    """
    files = {
        "__snapshots__/test_snap.ambr": (
            """\
            # serializer version: 1
            # name: test_differs
              'other'
            # ---
            # name: test_same
              'value'
            # ---
            """
        ),
        "test_snap.py": (
            """
            def test_same(snapshot): assert snapshot == "value"
            def test_differs(snapshot): assert snapshot == "value"
            def test_missing(snapshot): assert snapshot == "value"
            """
        ),
    }
    plain, isolated = both(files, tests=3)
    assert "1 snapshot passed" in plain.output
    assert (
        isolated.count(
            "isolate: syrupy counts and writes snapshots in the memory of the process that compares"
        )
        == 1
    )


@pytest.mark.plugins(hypothesis="hypothesispytest")
def test_hypothesis_finds_and_keeps_the_same(both):
    """The falsifying example, and that the example database has it afterwards."""
    files = {
        "conftest.py": (
            """
            from hypothesis import database, settings
            settings.register_profile("kept", database=database.DirectoryBasedExampleDatabase(".hypothesis/examples"), deadline=None)
            settings.load_profile("kept")
            """
        ),
        "test_property.py": (
            """
            from hypothesis import given, settings, strategies
            @given(strategies.integers())
            def test_holds(number): assert number == number
            @given(strategies.integers())
            def test_falsified(number): assert number < 1000
            """
        ),
    }
    plain, isolated = both(files, tests=2)
    wanted = re.compile(r"number=\d+")
    assert wanted.findall(isolated.output) == wanted.findall(plain.output) != []
    kept = [
        len(list((each.directory / ".hypothesis/examples").glob("*/*")))
        for each in (plain, isolated)
    ]
    assert kept[0] > 0
    assert kept[1] > 0


@pytest.mark.plugins(pytest_benchmark="benchmark")
def test_benchmark_has_the_same_rows(both):
    """Outcomes only: measurements of isolated tests are in no table, and a warning says so."""
    files = {
        "test_speed.py": (
            """
            import pytest
            def work(): return sum(range(10))
            @pytest.mark.benchmark(group="one", min_rounds=2, max_time=0.01)
            def test_one(benchmark): assert benchmark(work) == 45
            @pytest.mark.benchmark(group="two")
            def test_two(benchmark):
                benchmark.extra_info["known"] = 1
                benchmark.pedantic(work, rounds=3, iterations=2)
            def test_none(): pass
            """
        )
    }
    plain, isolated = both(files, tests=3)
    assert re.search(r"^test_two +\d", plain.output, re.MULTILINE)
    assert (
        isolated.count(
            "isolate: pytest-benchmark keeps its measurements in the memory of the process that"
            " measures"
        )
        == 1
    )


def _summary(output: str) -> str:
    # Behind it this plugin says that it was off
    (last,) = (line for line in output.splitlines() if re.match(r"=.* in [\d.]+s", line))
    return re.sub(r" in [\d.]+s.*", "", last)
