"""Wider fixtures are the parent's: set up once, torn down once, at pytest's own moments; a child
has copies.
"""

from __future__ import annotations

import os
import sys
import textwrap
import xml.etree.ElementTree as ET

import pytest

EVENTS = """
import os, pathlib, pytest
LOG = pathlib.Path({log!r})
def say(text):
    with LOG.open("a") as log: log.write(text + ("" if os.getpid() == int(os.environ["PARENT"]) else " inside") + "\\n")
os.environ.setdefault("PARENT", str(os.getpid()))
@pytest.fixture(scope="session")
def a_session(): say("session up"); yield []; say("session down")
@pytest.fixture(scope="package")
def a_package(): say("package up"); yield; say("package down")
@pytest.fixture(scope="module", params=["p", "q"])
def a_module(request, a_session): say("module up " + request.param); yield; say("module down " + request.param)
@pytest.fixture(scope="class")
def a_class(): say("class up"); yield; say("class down")
@pytest.fixture
def a_function(): say("function up"); yield; say("function down")
"""
TESTS = """
from conftest import say
class TestA:
    def test_one(self, a_module, a_class, a_function): say("one")
    def test_two(self, a_module, a_class): say("two")
def test_three(a_session, a_package): say("three"); a_session.append(1); assert a_session == [1]
def test_four(a_session): say("four")
"""


@pytest.fixture
def events(pytester, isolated):
    def run(*args):
        log = pytester.path / "events"
        log.write_text("")
        pytester.makeconftest(EVENTS.format(log=str(log)))
        pytester.makepyfile(test_events=TESTS)
        result = isolated("--isolate-bind", str(log), *args)
        return result, log.read_text().splitlines()

    return run


def test_fixtures_run_at_the_moments_of_a_plain_run(events):
    """The order of all set-ups, tests and teardowns is plain pytest's, and only function scope and
    bodies are inside.
    """
    plain_result, plain = events("--isolate-off")
    result, ours = events("--isolate-all")
    plain_result.assert_outcomes(passed=6)
    result.assert_outcomes(passed=6)
    assert [line.removesuffix(" inside") for line in ours] == plain
    assert {line.split()[0] for line in ours if line.endswith("inside")} == {
        "function",
        "one",
        "two",
        "three",
        "four",
    }
    assert {line.split()[0] for line in ours if not line.endswith("inside")} == {
        "session",
        "package",
        "module",
        "class",
    }


def test_what_one_test_does_to_a_shared_fixture_the_next_does_not_see(pytester, isolated):
    """Each test has a copy-on-write copy of what the parent set up."""
    pytester.makepyfile("""
        import pytest
        @pytest.fixture(scope="session")
        def shared(): return []
        @pytest.mark.parametrize("number", range(3))
        def test_append(shared, number): assert shared == []; shared.append(number)
        """)
    isolated("--isolate-all").assert_outcomes(passed=3)
    isolated("--isolate-off").assert_outcomes(passed=1, failed=2)


def test_report_hooks_of_single_folders_are_called_once_a_report_in_the_parent(pytester, isolated):
    """A conftest of one folder sees its folder's reports as in a plain run, and no
    child calls it.
    """
    for folder in ("one", "two"):
        pytester.mkdir(folder).joinpath(f"test_{folder}.py").write_text("def test_a(): pass")
        (pytester.path / folder / "conftest.py").write_text(
            f"import os\ndef pytest_runtest_logreport(report): print('SEEN', {folder!r},"
            " report.when, os.getpid() == 2)"
        )
    shown = [
        [line for line in isolated("-s", mode).outlines if "SEEN" in line]
        for mode in ("--isolate-off", "--isolate-all")
    ]
    assert [line.split("SEEN")[1] for line in shown[1]] == [
        line.split("SEEN")[1] for line in shown[0]
    ]
    assert len(shown[0]) == 6


def test_fresh_fixtures_are_all_inside(events):
    """``fixtures="fresh"`` sets everything up and down inside, once a test."""
    result, ours = events("--isolate-all", "--isolate-fixtures=fresh")
    result.assert_outcomes(passed=6)
    assert all(line.endswith("inside") for line in ours)
    assert ours.count("session up inside") == ours.count("session down inside") == 6


def test_a_failing_shared_fixture_is_reported_like_plain(pytester, outcomes):
    """Errors in set-up and teardown of wider scopes, with the output that came with them."""
    pytester.makepyfile("""
        import pytest
        @pytest.fixture(scope="module")
        def up(): print("going up"); raise OSError("no server")
        def test_up(up): pass
        def test_up_again(up): pass
        @pytest.fixture(scope="class")
        def down(): yield; print("going down"); raise OSError("no stop")
        class TestDown:
            def test_down_first(self, down): pass
            def test_down(self, down): pass
        def test_after(): pass
        """)
    plain = outcomes("--isolate-off")
    assert outcomes("--isolate-all") == plain
    assert [name for name, *states in plain if states] == ["test_up", "test_up_again", "test_down"]


def test_output_of_shared_fixtures_is_in_the_tests_sections(pytester, isolated):
    """Captured set-up has what wider and narrower fixtures printed, in order, in one section."""
    pytester.makepyfile("""
        import pytest
        @pytest.fixture(scope="session")
        def wide(): print("wide up"); yield; print("wide down")
        @pytest.fixture
        def narrow(wide): print("narrow up"); yield; print("narrow down")
        def test_a(narrow): print("in test"); assert 0
        """)
    result = isolated("--isolate-all")
    result.stdout.fnmatch_lines(
        ["*Captured stdout setup*", "wide up", "narrow up", "*Captured stdout call*", "in test"],
        consecutive=False,
    )
    assert sum("Captured stdout setup" in line for line in result.outlines) == 1


def test_hooks_that_undo_each_other_leave_the_parent_clean(pytester, isolated):
    """A set-up hook runs before the fork, so its teardown hook runs in the parent as well."""
    pytester.makeconftest("""
        import builtins
        def pytest_runtest_setup(item): assert not hasattr(builtins, "changed"); builtins.changed = item.name
        def pytest_runtest_teardown(item): assert builtins.changed == item.name; del builtins.changed
        """)
    pytester.makepyfile("def test_a(): pass\ndef test_b(tmp_path): pass")
    isolated("--isolate-all").assert_outcomes(passed=2)


def test_forty_tests_make_one_temporary_base(pytester, monkeypatch, tmp_path_factory):
    """``tmp_path`` works and only the parent's ``pytest-N`` folder is made."""
    root = tmp_path_factory.mktemp("root")
    pytester.makepyfile(
        "import pytest\n@pytest.mark.parametrize('n', range(40))\ndef test_a(tmp_path, n):"
        " (tmp_path / 'x').write_text('x')"
    )
    monkeypatch.setenv("PYTEST_DEBUG_TEMPROOT", str(root))
    pytester.run(sys.executable, "-m", "pytest", "-p", "isolate", "--isolate-all").assert_outcomes(
        passed=40
    )
    (user,) = root.iterdir()
    assert [path.name for path in user.iterdir() if not path.is_symlink()] == ["pytest-0"]


@pytest.mark.parametrize(("policy", "kept"), [("all", True), ("failed", True), ("none", False)])
def test_the_tmp_path_of_a_failing_test_comes_out(pytester, isolated, policy, kept):
    """It is copied to where pytest would have left it, under pytest's own policy; links come as
    links, devices not at all.
    """
    pytester.makeini(f"[pytest]\ntmp_path_retention_policy = {policy}")
    pytester.makepyfile("""
        import os
        def test_fails(tmp_path):
            (tmp_path / "sub").mkdir()
            (tmp_path / "sub" / "file").write_text("look at me")
            (tmp_path / "link").symlink_to("/etc/passwd")
            os.mkfifo(tmp_path / "fifo")
            assert 0
        def test_passes(tmp_path): (tmp_path / "x").write_text("gone")
        """)
    base = pytester.path / "base"
    result = isolated("--isolate-all", f"--basetemp={base}")
    result.assert_outcomes(failed=1, passed=1)
    found = base / "test_fails0"
    assert found.exists() is kept
    assert not (base / "test_passes0").exists()
    if kept:
        assert (found / "sub" / "file").read_text() == "look at me"
        assert (found / "link").is_symlink()
        assert not (found / "fifo").exists()
        result.stdout.fnmatch_lines([f"tmp_path is kept in {found}"])


def test_a_seed_holds_in_a_child(pytester, outcomes):
    """Python seeds ``random`` anew in forked children; a test draws what it would draw in a plain
    run.
    """
    pytester.makepyfile("""
        import random
        import pytest
        @pytest.fixture(scope="module", autouse=True)
        def seeded(): random.seed(1)
        def test_draws(): assert random.random() == random.Random(1).random()
        """)
    assert outcomes("--isolate-all") == outcomes("--isolate-off")
    assert outcomes("--isolate-all") == [("test_draws",)]


@pytest.mark.needs("root")
@pytest.mark.parametrize(
    "told", ["--basetemp={}/base", "PYTEST_DEBUG_TEMPROOT={}", "cache_dir={}/cache"]
)
def test_directories_that_pytest_is_told_of_may_lie_below_somebody_elses(
    pytester, monkeypatch, tmp_path_factory, told
):
    """Without root, where an owner has no name inside: what a test writes there is copied up with
    the directories above it.
    """
    theirs = tmp_path_factory.mktemp("theirs")
    (theirs / "open").mkdir()
    for path in (theirs, theirs / "open"):
        path.chmod(0o777)
        os.chown(path, 4321, 4321)
    told = told.format(theirs / "open")
    args = ["-o", told] if told.startswith("cache_dir") else [told] if told.startswith("-") else []
    if not args:
        monkeypatch.setenv(*told.split("="))
    pytester.makepyfile(
        "def test_a(tmp_path, cache): (tmp_path / 'x').write_text('x'); cache.set('a/b', 1)"
    )
    run = [sys.executable, "-m", "pytest", "-p", "isolate", "--isolate-all", *args]
    pytester.run("unshare", "--user", "--map-root-user", *run).assert_outcomes(passed=1)
    cache = (
        theirs / "open/cache" if told.startswith("cache_dir") else pytester.path / ".pytest_cache"
    )
    assert (cache / "v/a/b").read_text() == "1"


NAMED = """
import threading, pytest
from pytest_isolate import isolate
made = []
@pytest.fixture(scope="session")
def database(): made.append("database"); return "rows"
@pytest.fixture(scope="session")
def queue():
    made.append("queue")
    thread = threading.Thread(target=threading.Event().wait, daemon=True)
    thread.start()
    return thread
@pytest.fixture(scope="module")
def client(queue, database): made.append("client"); return queue
def test_shared(queue, database, client): assert made == ["database", "queue", "client"] or made == ["queue", "database", "client"]
def alive(client): return client.is_alive() and client in threading.enumerate()
@isolate(fixtures=["queue"])
def test_fresh(database, client):
    assert sorted(made) == ["client", "client", "database", "queue", "queue"]
    assert alive(client)
@isolate(fixtures=["queue"])
def test_fresh_again(database, client): assert sorted(made) == ["client", "client", "database", "queue", "queue"] and alive(client)
def test_shared_again(client): assert len(made) == 3
@isolate(fixtures=["queu"])
def test_misspelled(client): pass
"""


@pytest.mark.parametrize(
    "hook", ["", "def pytest_runtest_setup(item): pass"], ids=["foreseen", "rehearsed"]
)
def test_named_fixtures_are_inside_with_what_stands_on_them(pytester, isolated, hook):
    """``fixtures=[...]``: those and their dependents are set up for each test, the others once; a
    name that nobody has is an error.
    """
    pytester.makeconftest(hook)
    pytester.makepyfile(NAMED)
    result = isolated("--isolate-all", "-rE")
    result.assert_outcomes(passed=4, errors=1)
    result.stdout.fnmatch_lines(
        ["isolate: fixtures=[[]'queu'[]], set *::test_misspelled: there is no fixture 'queu'"]
    )


UNKEPT = {
    "exits": (
        """
        @pytest.fixture(scope="module")
        def shared(): raise SystemExit(3)
    """
    ),
    "exits-below": (
        """
        class Ended(BaseException): pass
        @pytest.fixture(scope="session")
        def below(): raise Ended("below")
        @pytest.fixture(scope="module")
        def shared(request): return request.getfixturevalue("below")
    """
    ),
}
# Before, pytest warns of an asynchronous fixture, and the test passes
if pytest.version_tuple >= (9,):
    UNKEPT["async"] = """
        @pytest.fixture(scope="module")
        async def shared(): yield
    """


@pytest.mark.parametrize(
    "conftest", ["", "def pytest_runtest_setup(): pass"], ids=["at once", "after a rehearsal"]
)
@pytest.mark.parametrize("source", UNKEPT.values(), ids=UNKEPT.keys())
def test_a_failure_of_a_wider_fixture_that_pytest_does_not_keep_is_said_as_in_a_plain_run(
    pytester, isolated, source, conftest
):
    """The test in whose process it is met says the first one: a second set-up of the same fixture
    fails otherwise, or does not.
    """
    pytester.makeconftest(conftest)
    pytester.makepyfile(
        "import pytest"
        + textwrap.dedent(source)
        + "def test_first(shared): pass\ndef test_second(shared): pass\n"
    )
    said = []
    for option in ("--isolate-off", "--isolate-all"):
        isolated(option, f"--junitxml={pytester.path / 'junit.xml'}").assert_outcomes(errors=2)
        said.append(
            [
                (error.get("message"), error.text)
                for error in ET.parse("junit.xml").getroot().iter("error")
            ]
        )
    # What pytest itself raises then has addresses in its text
    (plain, (plain_after, _)), (ours, (ours_after, _)) = said
    assert ours == plain
    assert ours_after == plain_after


def test_a_collector_that_ends_in_its_set_up_is_no_test_that_passes(pytester, isolated):
    """Pytest keeps nothing of it either, and for the next test it counts as set up."""
    pytester.makeconftest("""
        import pytest
        class Ends(pytest.Module):
            def setup(self): raise SystemExit("collector")
        def pytest_pycollect_makemodule(module_path, parent): return Ends.from_parent(parent, path=module_path)
    """)
    pytester.makepyfile("def test_first(): pass\ndef test_second(): pass\n")
    for option in ("--isolate-off", "--isolate-all"):
        result = isolated(option)
        result.assert_outcomes(errors=1, passed=1)
        assert result.stdout.str().count("E   SystemExit: collector") == 1


ASKED = """
import os, pathlib, pytest
from pytest_isolate import isolate
NOTED = pathlib.Path(__file__).with_name("noted")
PYTEST = int(os.environ.setdefault("PYTEST_PID", str(os.getpid())))
def note(text):
    with NOTED.open("a") as noted: print(text, "inside" if os.getpid() != PYTEST else "in pytest", file=noted)
@pytest.fixture(scope="session")
def wide():
    note("set up")
    yield [os.getpid()]
    note("tear down")
@pytest.fixture
def own(request):
    note("own")
    return request.getfixturevalue("wide")
"""


@pytest.fixture
def asked(pytester, isolated):
    """What was noted on the machine in a run of tests that ask for a shared fixture
    while they run.
    """

    def run(tests: str, *args: str, **outcomes: int) -> list[str]:
        pytester.makepyfile(test_asked=ASKED + textwrap.dedent(tests))
        (pytester.path / "noted").write_text("")
        isolated("--isolate-all", *args).assert_outcomes(**outcomes)
        return (pytester.path / "noted").read_text().splitlines()

    return run


def test_a_shared_fixture_that_tests_ask_for_is_set_up_once_in_pytest(asked):
    """By a fixture of the test's own or by its body, which begins anew; later tests find it.

    Nothing that was done until then is seen.
    """
    tests = """
        DONE = []
        def test_own(own): assert own == [PYTEST]
        def test_body(request):
            DONE.append(1); pathlib.Path("made").touch(exist_ok=False)
            assert request.getfixturevalue("wide") == [PYTEST] and DONE == [1]
        def test_given(wide): assert wide == [PYTEST]
        @isolate(fixtures="fresh")
        def test_fresh(own): assert own == [os.getpid()]
        @isolate(fixtures=["wide"])
        def test_named(own): assert own == [os.getpid()]
        class TestGroup:
            pytestmark = isolate(scope="class")
            def test_one(self, own): assert own == [PYTEST]
            def test_two(self, own): assert own == [PYTEST]
        """
    assert asked(tests, passed=7) == ["set up in pytest", "tear down in pytest"]
    alone = tests[: tests.index("def test_given")]
    assert asked(alone, "-k", "body", passed=1, deselected=1) == [
        "set up in pytest",
        "tear down in pytest",
    ]


@pytest.mark.parametrize(
    "how", ["net='host'", "fs='host'", "bind=[str(NOTED)]", "scope='class'", "fixtures='fresh'"]
)
def test_a_test_without_walls_begins_only_once(asked, how):
    """What it did until it asked for a shared fixture would be done twice: that is set up inside
    then.
    """
    tests = f"""
        @isolate({how})
        class TestIt:
            def test_it(self, request):
                note("body")
                assert request.getfixturevalue("wide") == [os.getpid()]
            def test_again(self, own): pass
        """
    noted = asked(tests, passed=2)
    assert not [line for line in noted if line.endswith("in pytest")]
    # Else what is written to /tmp is private
    assert noted.count("body inside") == how.startswith("bind")


def test_tests_in_flight_have_what_they_ask_for_inside(asked):
    """With jobs nobody begins anew, whether pytest or the nursery forked it."""
    tests = """
        @pytest.mark.parametrize("number", range(20))
        def test_it(request, number): assert request.getfixturevalue("wide") == [os.getpid()]
        """
    assert asked(tests, "--isolate-jobs=2", passed=20) == []


def test_a_test_that_begins_anew_for_ever_is_ended(asked):
    """Whatever its process says that it needs: as often as there may be fixtures, and what is none
    of those it can have does nothing.
    """
    tests = """
        @pytest.fixture
        def narrow(): note("narrow")
        @pytest.mark.parametrize("name", ["narrow", "nothing", "wide"])
        def test_lies(request, name):
            inside = request.config.pluginmanager.get_plugin("isolate-run").side.child
            inside.need(name, "call")
        def test_last(): pass
        """
    noted = asked(tests, failed=3, passed=1)
    assert noted == ["set up in pytest", "tear down in pytest"]
