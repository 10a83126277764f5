"""Options that are no keywords, on a real configuration of pytest: command line, ini
file, default.
"""

import pytest

from pytest_isolate._config import settings
from pytest_isolate._config.spec import Defaults

pytestmark = pytest.mark.anybody

NATIVE = pytest.mark.skipif(pytest.version_tuple < (9, 2), reason="the native table of pytest 9.2")
#: for each option, what a command line says, what an ini file says, and what it is then
GIVEN = {
    "isolate_all": ("--isolate-all", "true", True),
    "isolate_off": ("--isolate-off", "yes", True),
    "isolate_jobs": ("--isolate-jobs=auto", "auto", "auto"),
    "isolate_report": ("--isolate-report=r.json", "r.json", "r.json"),
    "isolate_keep": ("--isolate-keep=failed", "failed", "failed"),
    "isolate_artifacts": ("--isolate-artifacts=kept", "kept", "kept"),
    "isolate_shell": ("--isolate-shell", "true", True),
    "isolate_oci": ("--isolate-oci=bundles", "bundles", "bundles"),
    "isolate_oci_of": ("--isolate-oci-of=failed", "failed", "failed"),
    "isolate_html": ("--isolate-html=r.html", "r.html", "r.html"),
    "isolate_trace": ("--isolate-trace=t.json", "t.json", "t.json"),
    "isolate_top": ("--isolate-top=3", "3", "3"),
    "isolate_budgets": ("--isolate-budgets=b.toml", "b.toml", "b.toml"),
    "isolate_update_budgets": ("--isolate-update-budgets", "true", True),
}


@pytest.fixture
def settled(pytester, monkeypatch):
    """The options of a run with this ini file, by name."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def settle(*options, ini="", file="pytest.ini", head="[pytest]\n"):
        (pytester.path / file).write_text(head + ini, "utf-8")
        config = pytester.parseconfig("-p", "isolate", *options)
        settings.settle(config)
        return {each.name: getattr(config.option, each.name) for each in settings.SETTINGS}

    return settle


def test_every_option_is_tried_below():
    """An option added to the table is added to these tests."""
    assert GIVEN.keys() == {each.name for each in settings.SETTINGS}


@pytest.mark.parametrize("name", GIVEN)
def test_an_option_is_that_of_the_command_line_or_the_ini_file(settled, pytester, name):
    """With the same meaning; a path of the ini file is one beside it, wherever pytest
    was started.
    """
    option, ini, expected = GIVEN[name]
    defaults = {each.name: each.default for each in settings.SETTINGS}
    assert settled() == defaults
    assert settled(option) == defaults | {name: expected}
    is_path = next(each.is_path for each in settings.SETTINGS if each.name == name)
    assert settled(ini=f"{name} = {ini}") == defaults | {
        name: str(pytester.path / expected) if is_path else expected
    }


def test_the_command_line_beats_the_ini_file(settled):
    """Also with a value that happens to be the default."""
    assert (
        settled(
            "--isolate-jobs=1", "--isolate-keep=none", ini="isolate_jobs = 4\nisolate_keep = all"
        )["isolate_jobs"]
        == "1"
    )


@pytest.mark.parametrize(
    ("options", "ini", "all_", "off"),
    [
        (["--isolate-off"], "isolate_all = true", True, True),
        (["--isolate-all"], "isolate_off = true", True, False),
        (["--isolate-all", "--isolate-off"], "", True, True),
        (["--isolate-all"], "isolate_all = false", True, False),
    ],
)
def test_off_and_all_together(settled, options, ini, all_, off):
    """What is typed beats the file; of both typed, off: it is said in the header and
    the last line.
    """
    found = settled(*options, ini=ini)
    assert (found["isolate_all"], found["isolate_off"]) == (all_, off)


@pytest.mark.parametrize(
    ("ini", "says"),
    [
        (
            "isolate_all = maybe",
            r"isolate: pytest.ini: isolate_all='maybe': it must be True or False",
        ),
        (
            "isolate_keep = some",
            r"isolate: pytest.ini: isolate_keep='some': it must be 'failed', 'all' or 'none'",
        ),
        (
            "isolate_all = true\nisolate_off = true",
            "isolate: isolate_all and isolate_off in pytest.ini contradict each other",
        ),
    ],
)
def test_what_an_ini_file_cannot_say_is_one_sentence(settled, ini, says):
    """It names the file and the value."""
    with pytest.raises(pytest.UsageError, match=says):
        settled(ini=ini)


@NATIVE
def test_pytests_native_table_has_numbers_and_booleans(settled, pytester):
    """[tool.pytest] of pyproject.toml, where values have types of their own: numbers, booleans,
    text, and lists of text.
    """
    text = (
        "isolate_all = true\nisolate_jobs = 2\nisolate_memory = 67108864\nisolate_pids ="
        ' 20\nisolate_timeout = 2.5\nisolate_cpu = "0.5"\nisolate_serial = true\nisolate_net ='
        ' false\nisolate_bind = ["/usr:ro"]\nisolate_env = ["A=1"]\n'
    )
    found = settled(ini=text, file="pyproject.toml", head="[tool.pytest]\n")
    assert (found["isolate_all"], found["isolate_jobs"]) == (True, "2")
    spec = Defaults(pytester.parseconfig("-p", "isolate")).spec([])
    assert (spec.memory, spec.pids, spec.timeout, spec.cpu, spec.serial, spec.net) == (
        64 << 20,
        20,
        2.5,
        0.5,
        True,
        False,
    )
    assert (spec.bind, spec.env) == ((("/usr", "/usr", True),), {"A": "1"})


REPORTS = ["--isolate-report", "--isolate-html", "--isolate-trace"]


@pytest.mark.parametrize("option", REPORTS)
def test_a_file_of_another_kind_is_no_place_for_a_report(pytester, option):
    """Who forgets the path names the next argument: it would be lost at the end of the run."""
    others = {
        "test_it.py": "def test_it(): pass",
        "package.json": '{"name": "ours", "host": {}}',
        "index.html": "<!doctype html><title>ours</title>",
    }
    for name, text in others.items():
        (pytester.path / name).write_text(text)
    for name, text in others.items():
        result = pytester.runpytest_subprocess("-p", "isolate", "--isolate-all", option, name)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines(
            [f"ERROR: {option}={name}: what is there is no *it would be lost*"]
        )
        assert (pytester.path / name).read_text() == text


@pytest.mark.parametrize("tests", [0, 1])
def test_an_earlier_report_is_replaced(pytester, tests):
    """By the same command typed again, whatever was in it."""
    pytester.makepyfile("def test_it(): pass")
    for _ in range(2):
        for option in REPORTS:
            result = pytester.runpytest_subprocess(
                "-p", "isolate", "--isolate-all", f"{option}=report{option}",
                *(() if tests else ("-k", "nobody")),
            )  # fmt: skip
            result.assert_outcomes(passed=tests, deselected=1 - tests)


def test_an_option_that_does_nothing_alone_is_said(pytester):
    """Once, in the last lines."""
    pytester.makepyfile("def test_it(): pass")
    result = pytester.runpytest_subprocess("-p", "isolate", "--isolate-all", "--isolate-oci-of=all")
    result.stdout.fnmatch_lines(
        ["isolate: --isolate-oci-of does nothing without --isolate-oci=DIR"]
    )
