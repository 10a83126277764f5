"""Plugins that remember how tests before ended, or what tests kept: their memory is in pytest, and
tests run in copies of it.
"""

from __future__ import annotations

import json
import re

import pytest
from running import WHOSE_FORK


def lines(ran, start):
    """Lines of the terminal that begin so, without times."""
    return [
        re.sub(r"\d+\.\d+s", "TIME", line)
        for line in ran.output.splitlines()
        if line.startswith(start)
    ]


DEPENDENT = {
    "test_chain.py": (
        """
        import os, pytest
        @pytest.mark.dependency
        def test_login(): pass
        @pytest.mark.dependency(depends=["test_login"])
        def test_profile(): pass
        @pytest.mark.dependency(depends=["test_profile"])
        def test_picture(tmp_path): pass
        @pytest.mark.dependency
        def test_broken(): assert 0
        @pytest.mark.dependency(depends=["test_broken"])
        def test_after_broken(): pass
        @pytest.mark.dependency(depends=["test_after_broken"])
        def test_after_skipped(): pass
        @pytest.fixture
        def late():
            yield
            raise OSError("late")
        @pytest.mark.dependency
        def test_late(late): pass
        @pytest.mark.dependency(depends=["test_late"])
        def test_after_late(): pass
        @pytest.mark.dependency(name="named")
        @pytest.mark.xfail
        def test_expected(): assert 0
        @pytest.mark.dependency(depends=["named"])
        def test_after_expected(): pass
        class TestClass:
            @pytest.mark.dependency
            @pytest.mark.parametrize("number", [1, 2])
            def test_each(self, number): assert number == 1
            @pytest.mark.dependency(depends=["TestClass::test_each[1]"])
            def test_one(self): pass
            @pytest.mark.dependency(depends=["test_each[2]"], scope="class")
            def test_two(self): pass
        def test_by_call(request):
            from pytest_dependency import depends
            depends(request, ["test_picture"])
            depends(request, ["test_broken"])
        """
    ),
    "test_other.py": (
        """
        import pytest
        @pytest.mark.dependency(depends=["test_chain.py::test_login"], scope="session")
        def test_session(): pass
        @pytest.mark.dependency(depends=["test_chain.py::test_broken"], scope="session")
        def test_session_broken(): pass
        """
    ),
}


@pytest.mark.plugins(pytest_dependency="dependency")
@pytest.mark.parametrize(
    "args",
    [(), ("-o", "automark_dependency=true"), ("--isolate-jobs=2",)],
    ids=["marked", "automark", "jobs"],
)
def test_dependency_runs_and_skips_the_same(both, args):
    """What depends on tests that passed runs, what depends on others is skipped: by name, class,
    session and call.
    """
    both(DEPENDENT, *args, tests=17)


@pytest.mark.plugins(pytest_dependency="dependency")
def test_dependency_takes_one_at_a_time_where_it_is_used(run):
    """With `--isolate-jobs` tests run one at a time if any is marked, and the run says so."""
    source = "import pytest\n{}\ndef test_a(): pass\ndef test_b(): pass\n"
    marked, plain = (
        {"test_it.py": source.format(mark)} for mark in ("@pytest.mark.dependency", "")
    )
    args = ("--isolate-all", "--isolate-jobs=2")
    for used in (
        run("marked", marked, *args),
        run("automark", plain, *args, "-o", "automark_dependency=true"),
    ):
        assert (
            used.count(
                "; 2 of them one at a time, for hooks (pytest_dependency) may decide by how the"
                " tests before ended"
            )
            == 1
        )
    assert run("unused", plain, *args).count("one at a time") == 0


@pytest.mark.plugins(pytest_dependency="dependency")
def test_dependency_costs_nothing_where_it_is_only_installed(run):
    """Tests of a run without its mark come from the nursery, as without the plugin, as their stacks
    tell; with it pytest forks them.
    """
    source = """
        import pytest
        from whose_fork import is_nurserys
        {}
        @pytest.mark.parametrize("number", range(16))
        def test_it(number): assert number < 10 or is_nurserys() == {}
        """
    for name, mark, comes in (("unused", "", True), ("used", "@pytest.mark.dependency", False)):
        files = {"test_it.py": source.format(mark, comes), "whose_fork.py": WHOSE_FORK}
        assert run(name, files, "--isolate-all").status == 0


@pytest.mark.plugins(pytest_dependency="dependency")
def test_dependency_on_a_test_that_was_killed(run):
    """A test that was killed has not passed: what depends on it is skipped."""
    files = {
        "test_killed.py": (
            """
            import os, pytest
            @pytest.mark.dependency
            def test_dies(): os.abort()
            @pytest.mark.dependency(depends=["test_dies"])
            def test_skipped(): pass
            @pytest.mark.dependency
            def test_lives(): pass
            @pytest.mark.dependency(depends=["test_lives"])
            def test_run(): pass
            """
        )
    }
    (dies, death), *others = (case[1:] for case in run("isolated", files, "--isolate-all").cases)
    assert (dies, "SIGABRT" in death) == ("test_dies", True)
    assert others == [
        ("test_lives",),
        ("test_run",),
        ("test_skipped", "skipped: test_skipped depends on test_dies"),
    ]


@pytest.mark.plugins(pytest_order="pytest_order", pytest_dependency="dependency")
def test_order_and_dependencies(both):
    """Ordinal and relative order, and dependencies that order tests and then decide about them."""
    files = {
        "test_order.py": (
            """
            import pytest
            seen = []
            @pytest.mark.order(-1)
            def test_last(): pass
            @pytest.mark.order(1)
            def test_first(): pass
            @pytest.mark.order(after="test_fails")
            def test_behind(): pass
            @pytest.mark.order(before="test_first")
            def test_before(): assert 0
            @pytest.mark.dependency(depends=["test_fails", "test_before"])
            def test_depends(): pass
            @pytest.mark.dependency(depends=["test_works"])
            def test_depends_too(): pass
            @pytest.mark.dependency
            def test_fails(): assert 0
            @pytest.mark.dependency
            def test_works(): pass
            """
        )
    }
    plain, isolated = both(files, "-v", "--order-dependencies", tests=8)
    order, ours = (
        [re.sub(r"( \([\d.]+ m?s.*?\))? +\[.*", "", line) for line in lines(ran, "test_order.py::")]
        for ran in (plain, isolated)
    )
    assert ours == order
    assert any("test_depends_too PASSED" in line for line in order)


@pytest.mark.plugins(pytest_check="check")
def test_check_reports_every_failed_check(both):
    """Several failed checks of a test, with the words of each, also beside a failing assertion and
    in fixtures.
    """
    files = {
        "test_check.py": (
            """
            import pytest
            from pytest_check import check
            def test_two():
                check.equal(1, 2, "one")
                check.is_in(3, [4], "two")
            def test_none(): check.equal(1, 1)
            def test_and_assert():
                check.is_true(False, "checked")
                assert 0, "asserted"
            @pytest.fixture
            def checks(): check.equal(5, 6, "in set-up")
            def test_fixture(checks): pass
            def test_with():
                with check: assert 7 == 8
                with check: raise ValueError("nine")
            @pytest.mark.xfail
            def test_expected(): check.equal(1, 2)
            """
        )
    }
    plain, isolated = both(files, tests=6)
    for text in ("FAILURE: ", "Failed Checks: 2"):
        assert isolated.count(text) == plain.count(text) > 0


@pytest.mark.plugins(pytest_bdd="pytest-bdd")
@pytest.mark.parametrize(
    "args",
    [("--cucumberjson=cucumber.json",), ("--gherkin-terminal-reporter", "-vv")],
    ids=["json", "terminal"],
)
def test_bdd_reports_the_same_steps(both, args):
    """Scenarios, outlines and failing steps, in its JSON file and its terminal."""
    files = {
        "shop.feature": (
            """\
            Feature: A shop
                Scenario: Buying
                    Given a basket
                    When 2 apples are put in
                    Then it has 2 apples
                Scenario: Losing
                    Given a basket
                    When 1 apples are put in
                    Then it has 2 apples
                Scenario Outline: Each
                    Given a basket
                    When <number> apples are put in
                    Then it has <number> apples
                    Examples:
                    | number |
                    | 1      |
                    | 3      |
            """
        ),
        "test_shop.py": (
            """
            from pytest_bdd import given, parsers, scenarios, then, when
            scenarios("shop.feature")
            @given("a basket", target_fixture="basket")
            def basket(): return []
            @when(parsers.parse("{number:d} apples are put in"))
            def put(basket, number): basket += ["apple"] * number
            @then(parsers.parse("it has {number:d} apples"))
            def has(basket, number): assert len(basket) == number
            """
        ),
    }
    plain, isolated = both(files, *args, tests=4)
    if args[0].startswith("--cucumber"):
        found = []
        for each in (plain, isolated):
            text = re.sub(
                r"0x[0-9a-f]+", "0xADDRESS", (each.directory / "cucumber.json").read_text()
            )
            found.append(json.loads(re.sub(r'"duration": \d+', '"duration": 0', text)))
        assert found[1] == found[0] != []
    else:
        steps = [
            line
            for line in plain.output.splitlines()
            if re.match(r" +(Given|When|Then|Scenario)", line)
        ]
        assert (
            [
                line
                for line in isolated.output.splitlines()
                if re.match(r" +(Given|When|Then|Scenario)", line)
            ]
            == steps
            != []
        )


@pytest.mark.plugins(pytest_bdd="pytest-bdd")
def test_bdd_reports_scenarios_that_overstep(run):
    """A scenario that oversteps a limit has failed, with its steps; one that was killed, or says
    what is none, is not in the JSON file.
    """
    files = {
        "it.feature": (
            """\
            Feature: It
                Scenario: Overstepping
                    When it calls
                Scenario: Dying
                    When it dies
                Scenario: Lying
                    When it lies
            """
        ),
        "test_it.py": (
            """
            import os, socket, pytest
            from pytest_bdd import reporting, scenarios, when
            scenarios("it.feature")
            @when("it lies")
            def lies(): reporting.ScenarioReport.serialize = lambda self: {"steps": [1]}
            @when("it calls")
            def calls(): pytest.raises(OSError, socket.create_connection, ("192.0.2.1", 80))
            @when("it dies")
            def dies(): os.abort()
            """
        ),
    }
    ran = run(
        "isolated", files, "--isolate-all", "--isolate-net=deny", "--cucumberjson=cucumber.json"
    )
    assert ran.count("2 failed, 1 passed") == 1
    ((scenario,),) = (
        feature["elements"] for feature in json.loads((ran.directory / "cucumber.json").read_text())
    )
    assert (scenario["name"], [step["name"] for step in scenario["steps"]]) == (
        "Overstepping",
        ["it calls"],
    )


# Which it asks whether it is in a worker
@pytest.mark.plugins(pytest_harvest="harvest", pytest_xdist="xdist")
def test_harvest_has_what_tests_kept(both):
    """What tests put into its bag, and how they ended, at the end of the session; or a sentence
    says what is lost.
    """
    files = {
        "conftest.py": (
            """
            import re
            from pytest_harvest import get_session_results_dct
            def pytest_sessionfinish(session):
                for nodeid, each in get_session_results_dct(session).items():
                    kept = {name: value for name, value in each.items() if name not in {"pytest_obj", "pytest_duration_ms"}}
                    print("\\nHARVEST", nodeid, re.sub(r"\\d+\\.\\d+(e-\\d+)?|\\n *", "_", repr(kept)))
            """
        ),
        "test_harvest.py": (
            """
            import pytest
            @pytest.mark.parametrize("number", [1, 2])
            def test_keeps(number, results_bag):
                results_bag.score = number * 10
                assert number == 1
            def test_keeps_nothing(): pass
            """
        ),
    }
    plain, isolated = both(files, "-s", "-W", "ignore::pytest.PytestRemovedIn10Warning", tests=3)
    kept = lines(plain, "HARVEST")
    assert lines(isolated, "HARVEST") == kept or "isolate: pytest-harvest" in isolated.output
    assert any("passed" in line for line in kept)
