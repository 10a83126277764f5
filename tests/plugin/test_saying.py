"""What a run says of itself: in its header, in its last lines, and of what had nothing
to act on.
"""

import re

import pytest

pytestmark = pytest.mark.anybody

THREE = """
import pytest
@pytest.mark.isolate
@pytest.mark.parametrize("n", range(2))
def test_isolated(n): pass
def test_plain(): pass
"""


@pytest.fixture
def run(pytester, monkeypatch):
    """A run of three tests of which two are marked, without other plugins; gives the lines that
    begin with our name.
    """
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)

    def lines(*options, source=THREE, forks=True):
        pytester.makepyfile(source)
        call = pytester.runpytest_subprocess if forks else pytester.runpytest_inprocess
        result = call("-p", "isolate", "-p", "no:cacheprovider", *options)
        lines.result = result
        return [
            re.sub("; Linux .*?(?=; up|; one|$)", "; HERE", line)
            for line in result.outlines
            if line.startswith("isolate: ")
        ]

    return lines


def test_a_run_that_isolates_says_so_at_both_ends(run):
    """How many of how many tests, and in the header where it is."""
    assert run() == ["isolate: 2 of 3 tests; HERE", "isolate: 2 of 3 tests isolated"]
    assert re.search(
        r"^isolate: 2 of 3 tests; Linux \d+\.\d+, (root|uid \d+)",
        str(run.result.stdout),
        re.MULTILINE,
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [(["-q"], ["isolate: 2 of 3 tests isolated"]), (["-qq"], []), (["-p", "no:terminal"], [])],
)
def test_a_quiet_run_says_less(run, options, said):
    """With -q the count is left, with -qq nothing; without pytest's terminal there is nobody to say
    it.
    """
    assert run(*options) == said
    assert run.result.ret == 0


def test_workers_are_counted_once(run):
    """Under pytest-xdist the controller counts what all workers did, and says that jobs are one at
    a time in each.
    """
    pytest.importorskip("xdist")
    assert run("-p", "xdist", "-n", "2", "--isolate-jobs=2", "--isolate-all") == [
        (
            "isolate: every test; one test at a time in each worker of pytest-xdist, not"
            " --isolate-jobs=2"
        ),
        "isolate: 3 of 3 tests isolated",
    ]
    run.result.assert_outcomes(passed=3)


def test_a_test_that_never_came_to_its_sandbox_is_not_counted(run):
    """Skipped before the fork."""
    source = THREE.replace("range(2)", "[0, pytest.param(1, marks=pytest.mark.skip)]")
    assert run("-q", source=source) == ["isolate: 1 of 3 tests isolated"]


@pytest.mark.parametrize(
    ("options", "ini", "why"),
    [
        (["--isolate-off"], "", "--isolate-off"),
        (["--isolate-off", "--isolate-all"], "", "--isolate-off"),
        ([], "isolate_off = true", "isolate_off in tox.ini"),
    ],
)
def test_a_run_with_isolation_off_says_so_first_and_last(run, pytester, options, ini, why):
    """In the header and in the very last line, with -q in that."""
    pytester.makeini(f"[pytest]\n{ini}\n")
    last = f"isolate: off ({why}), nothing was isolated"
    assert run(*options, forks=False) == [
        f"isolate: off ({why}), marked tests run as plain tests",
        last,
    ]
    run.result.assert_outcomes(passed=3)
    assert run("-q", *options, forks=False) == [last]
    assert run.result.outlines[-1] == last


@pytest.mark.parametrize(
    "option",
    ["--isolate-memory=64M", "--isolate-report=r.json", "--isolate-jobs=2", "--isolate-keep=all"],
)
def test_an_option_that_had_nothing_to_act_on_is_said(run, option):
    """A person who limits the memory of tests that are not isolated has not limited it."""
    said = run(option, source="def test_plain(): pass\n", forks=False)
    (line,) = (line for line in said if "nothing was isolated" in line)
    assert (
        line == "isolate: nothing was isolated: no test of this run is marked, and"
        f" {option.partition('=')[0]} alone isolates none (--isolate-all: every test)"
    )


@pytest.mark.parametrize("ini", ["isolate_memory = 64M", "addopts = --isolate-memory=64M", ""])
def test_a_run_without_isolated_tests_says_nothing(run, pytester, ini):
    """What a file sets for every run is no reason to speak in each."""
    pytester.makeini(f"[pytest]\n{ini}\n")
    assert run(source="def test_plain(): pass\n", forks=False) == []


@pytest.mark.parametrize(
    ("file", "folder"),
    [
        ("conftest.py", "**"),
        ("sub/conftest.py", "sub/**"),
        ("__init__.py", "**"),
        ("sub/__init__.py", "sub/**"),
    ],
)
def test_a_pytestmark_that_pytest_ignores_is_named(run, pytester, file, folder):
    """In a conftest or an ``__init__``, once, with what to write instead; as a warning that ends no
    run, also with -W error.
    """
    pytester.mkpydir("sub")
    (pytester.path / "__init__.py").touch()
    (pytester.path / "sub" / "test_two.py").write_text("def test_a(): pass\ndef test_b(): pass\n")
    (pytester.path / file).write_text("import pytest\npytestmark = [pytest.mark.isolate(pids=9)]\n")
    assert run("-W", "error", source="def test_plain(): pass\n") == []
    run.result.assert_outcomes(passed=3, warnings=1)
    said = (
        f"PytestWarning: isolate: pytest ignores the pytestmark of {file}, so it isolates nothing: "
    )
    assert (
        f'{said}write [[tool.pytest_isolate.rules]] with tests = "{folder}" into pyproject.toml\n'
        in str(run.result.stdout)
    )


def test_a_rule_of_the_project_isolates_a_directory(run, pytester):
    """From the file to the sandbox, with its number in the sentence of a violation."""
    (pytester.path / "sub").mkdir()
    (pytester.path / "sub" / "test_two.py").write_text(
        "def test_a(): open('big', 'wb').write(bytes(1 << 20))\n"
    )
    (pytester.path / "pyproject.toml").write_text(
        "[[tool.pytest_isolate.rules]]\ntests = 'sub'\ndisk = '128K'\n"
    )
    assert run("-q", source="def test_plain(): pass\n")[-1] == "isolate: 1 of 2 tests isolated"
    run.result.assert_outcomes(passed=1, failed=1)
    run.result.stdout.fnmatch_lines(
        ["*wrote 128 KiB of 128 KiB *(disk=128 KiB, set by rule 1 of pyproject.toml (sub))"]
    )


@pytest.mark.parametrize("args", [(), ("-W", "error"), ("-p", "xdist", "-n2")], ids=" ".join)
def test_a_rule_for_a_test_that_is_not_there_is_named(run, pytester, args):
    """Mistyped or renamed, it would leave a test on the machine: said once.

    Of files that are not collected, or not whole, nobody knows.
    """
    (pytester.path / "pyproject.toml").write_text(
        "[[tool.pytest_isolate.rules]]\ntests = ['test_it.py::test_b', 'test_it.py::test_c*']\n"
    )
    (pytester.path / "test_other.py").write_text("def test_d(): pass\n")
    pytester.makepyfile(test_it="def test_a(): pass\ndef test_b(): pass\n")
    run(*args, source="")
    run.result.assert_outcomes(passed=3, warnings=1)
    said = (
        "rule 1 of pyproject.toml, tests='test_it.py::test_c*', matches none of the 2 tests of"
        " test_it.py, and so does nothing: "
    )
    assert f"PytestWarning: isolate: {said}pytest --collect-only -q lists their ids\n" in str(
        run.result.stdout
    )
    run(*args, "test_other.py", "test_it.py::test_a", source="")
    run.result.assert_outcomes(passed=2)
    run(*args, "test_other.py", source="")
    run.result.assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("workers", "said"),
    [
        ((), "*: NestedWarning: from a test"),
        (("-p", "xdist", "-n1"), "*: UserWarning: NestedWarning: from a test"),
    ],
)
def test_a_warning_keeps_the_name_of_a_class_that_is_the_tests_own(
    pytester, isolated, workers, said
):
    """No class of a test is imported; pytest-xdist looks for it by its name."""
    pytester.makepyfile("""
        import warnings
        def test_warns():
            class NestedWarning(UserWarning): pass
            warnings.warn("from a test", NestedWarning)
        """)
    result = isolated("--isolate-all", *workers)
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines([said])
