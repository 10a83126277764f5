"""Rules of pyproject.toml: which tests they name, what they give them, and what is refused."""

import pytest

from pytest_isolate._config.rules import Rules
from pytest_isolate._session.run import Run

pytestmark = pytest.mark.anybody

SOURCE = """
import pytest
from pytest_isolate import isolate
def test_plain(): pass
@isolate(pids=7)
def test_marked(): pass
class TestDb:
    @pytest.mark.parametrize("n", [1])
    def test_a(self, n): pass
"""


@pytest.fixture
def rules_of(tmp_path):
    """The rules that a pyproject.toml has."""
    (tmp_path / "tests" / "integration").mkdir(parents=True)
    (tmp_path / "tests" / "test_x.py").touch()

    def rules(text):
        (tmp_path / "pyproject.toml").write_text(text, "utf-8")
        return Rules(tmp_path)

    return rules


@pytest.mark.parametrize(
    ("pattern", "matches", "others"),
    [
        ("tests/integration/**",
         ["tests/integration/test_a.py::t", "tests/integration/more/test_a.py::T::t"], ["tests/test_x.py::t"]),
        ("tests/integration", ["tests/integration/test_a.py::t[a/b]"],
         ["tests/integration_too/test_a.py::t", "a/tests/integration/a.py"]),
        ("./tests/integration/", ["tests/integration/test_a.py::test_it"],
         ["tests/test_x.py::test_it"]),
        ("tests/*.py", ["tests/test_x.py::test_it"], ["tests/integration/test_a.py::test_it"]),
        ("**/test_?.py", ["test_x.py::t", "tests/test_x.py::t", "a/b/test_x.py::T::t[1]"],
         ["test_xy.py::t", "test_x.py.txt::t"]),
        ("**/test_*_slow", [],
         ["tests/test_x.py::test_it_slow", "tests/test_x.py::T::test_it_slow[a/test_b_slow]"]),
        ("tests/test_x.py::TestDb", ["tests/test_x.py::TestDb::test_a[1]"],
         ["tests/test_x.py::TestDb2::test_a", "tests/test_x.py::t"]),
        ("tests/test_x.py::test_it", ["tests/test_x.py::test_it", "tests/test_x.py::test_it[1-2]"],
         ["tests/test_x.py::test_it_too"]),
        ("tests/test_x.py::*slow*", ["tests/test_x.py::T::test_slow_one[1]"],
         ["tests/test_x.py::test_it"]),
        ("tests/test_x.py::test_it[a*]", ["tests/test_x.py::test_it[a1]"],
         ["tests/test_x.py::test_it[b1]", "tests/test_x.py::test_ita"]),
    ],
)  # fmt: skip
def test_a_pattern_names_what_a_shell_and_pytest_would_take_it_for(
    rules_of, pattern, matches, others
):
    """And everything in there: a directory's tests, a class's, a test's parameters.

    Brackets are those of a parameter.
    """
    rules = rules_of(f"[[tool.pytest_isolate.rules]]\ntests = {pattern!r}\n")
    assert {name: bool(rules.of(name)) for name in matches + others} == dict.fromkeys(
        matches, True
    ) | dict.fromkeys(others, False)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[tool.pytest_isolate]\nrules = 1", "rules must be written as"),
        ("[tool.pytest_isolate.rules]\ntests = 'tests'", "rules must be written as"),
        ("[[tool.pytest_isolate.rules]]\nmemory = '1G'", "tests=None: it must be a pattern"),
        ("[[tool.pytest_isolate.rules]]\ntests = []", "it must be a pattern"),
        ("[[tool.pytest_isolate.rules]]\ntests = ['tests', 1]", "it must be a pattern"),
        (
            "[[tool.pytest_isolate.rules]]\ntests = 'tests'\nisolate = 'no'",
            "isolate='no': it must be true, or false",
        ),
        (
            "[[tool.pytest_isolate.rules]]\ntests = 'tests/intergration/**'",
            "there is no tests/intergration in ",
        ),
        ("[[tool.pytest_isolate.rules]]\ntests = '/srv/tests'", "a pattern is relative to "),
        ("[[tool.pytest_isolate.rules", "cannot be read: "),
    ],
)
def test_what_is_no_rule_is_refused_in_one_sentence(rules_of, text, says):
    """With the file and the number of the rule; a pattern that can match nothing would leave its
    tests on the machine.
    """
    with pytest.raises(ValueError, match=r"pyproject\.toml") as raised:
        rules_of(text)
    assert says in str(raised.value)


def test_a_project_without_rules_costs_no_parser(rules_of):
    """What is broken in a file that does not name the plugin is none of its business."""
    assert rules_of("[broken").all == ()


@pytest.fixture
def run_of(pytester, monkeypatch):
    """A run on a module, and its items by name."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def run(pyproject, *options, ini=""):
        pytester.path.joinpath("pytest.ini").write_text("[pytest]\n" + ini, "utf-8")
        pytester.path.joinpath("pyproject.toml").write_text(pyproject, "utf-8")
        module = pytester.getmodulecol(SOURCE, configargs=["-p", "isolate", *options])
        found = Run(module.config)
        return found, {item.name: item for item in pytester.genitems([module])}

    return run


def test_a_rule_isolates_and_stands_between_marker_and_command_line(run_of):
    """Of two rules the later one counts, keyword by keyword, and each value knows its rule."""
    run, items = run_of(
        """
[[tool.pytest_isolate.rules]]
tests = "*.py"
pids = 20
files = 64
[[tool.pytest_isolate.rules]]
tests = ["**/nobody.py", "**/*.py::test_plain", "*::test_marked"]
pids = 21
hostname = "two"
""",
        "--isolate-files=65",
        "--isolate-memory=1G",
    )
    assert all(map(run.is_isolated, items.values()))
    specs = {name: run.defaults.spec_of(item) for name, item in items.items()}
    assert {name: (spec.pids, spec.files, spec.hostname, spec.memory) for name,
            spec in specs.items()} == {
        "test_plain": (21, 64, "two", 1 << 30), "test_marked": (7, 64, "two", 1 << 30),
        "test_a[1]": (20, 64, "isolate", 1 << 30),
    }  # fmt: skip
    assert specs["test_plain"].origin("pids") == "by rule 2 of pyproject.toml (**/*.py::test_plain)"
    assert specs["test_plain"].origin("files") == "by rule 1 of pyproject.toml (*.py)"
    assert specs["test_marked"].origin("pids").startswith("by @isolate on function ")


def test_a_rule_exempts_tests_that_are_not_marked(run_of):
    """From a wider rule and from --isolate-all; what a marker asks for stays."""
    text = (
        "[[tool.pytest_isolate.rules]]\ntests = '*.py'\nisolate ="
        " false\n[[tool.pytest_isolate.rules]]\ntests = '*::TestDb'\n"
    )
    run, items = run_of(text, "--isolate-all")
    assert {name: run.is_isolated(item) for name, item in items.items()} == {
        "test_plain": False,
        "test_marked": True,
        "test_a[1]": True,
    }


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (
            "memroy = '64M'",
            (
                r"isolate: memroy='64M' \(by rule 1 of pyproject.toml \(\*\)\): there is no such"
                r" keyword"
            ),
        ),
        (
            "memory = '64MB'",
            r"isolate: memory='64MB' \(by rule 1 of pyproject.toml \(\*\)\): 'MB' could mean",
        ),
        (
            "profile = 'gone'",
            r"isolate: profile='gone' \(by rule 1 of pyproject.toml \(\*\)\): it is not defined",
        ),
    ],
)
def test_a_bad_value_of_a_rule_ends_the_run_at_its_start(run_of, line, says):
    """As on the command line: nobody waits for the first test that it matches."""
    with pytest.raises(pytest.UsageError, match=says):
        run_of(f"[[tool.pytest_isolate.rules]]\ntests = '*'\n{line}\n")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "[[tool.pytest_isolate.rule]]\ntests = '*'",
            r"'rule' of \[tool.pytest_isolate\] is not read: there are .*rules.*profiles",
        ),
        (
            "[tool.pytest_isolate.profile.small]\nmemory = '64M'",
            r"'profile' of \[tool.pytest_isolate\] is not read",
        ),
        ("[tool.pytest_isolate]\nmemory = '64M'", "ini values of pytest, such as isolate_memory"),
        ("[[tool.pytest-isolate.rules]]\ntests = '*'", r"the table is \[tool.pytest_isolate\]"),
    ],
)
def test_a_table_that_nobody_reads_ends_the_run_at_its_start(run_of, text, says):
    """It was written to isolate tests, which would run on the machine."""
    with pytest.raises(pytest.UsageError, match=says):
        run_of(text)
