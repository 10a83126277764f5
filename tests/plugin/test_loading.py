"""By whatever name it is asked for, the plugin is loaded once; where it is not, no test that asks
for isolation runs on the machine.
"""

import importlib.metadata
import re
import shutil
import subprocess
import sys

import pytest

import pytest_isolate

pytestmark = pytest.mark.anybody

TEST = """
import socket
from pytest_isolate import isolate

@isolate
def test_inside():
    assert socket.gethostname() == "isolate"
"""
PLAIN = "from pytest_isolate import Violation\ndef test_plain(): pass\n"
REFUSED = "*test_it.py uses isolate, and the plugin is not loaded: *; run pytest -p isolate, or *"


@pytest.fixture(autouse=True)
def _bare(monkeypatch):
    for name in ("PYTEST_ADDOPTS", "PYTEST_PLUGINS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


NAMES = ("isolate", "pytest_isolate", "pytest_isolate.plugin")


@pytest.mark.parametrize("names", [NAMES[1:2], NAMES[2:], NAMES, NAMES[::-1]], ids="+".join)
def test_the_plugin_is_loaded_once_by_any_name(pytester, names):
    """With -p NAME for each of its names and several of them, also where warnings are errors."""
    pytester.makepyfile(test_it=TEST)
    options = [word for name in names for word in ("-p", name)]
    run = pytester.runpytest_subprocess(
        "-p", "no:cacheprovider", "-W", "error", "--trace-config", *options
    )
    run.assert_outcomes(passed=1)
    assert (
        len(re.findall(r"^ +\S+ *: \S+/pytest_isolate/plugin\.py$", str(run.stdout), re.MULTILINE))
        == 1
    )


def test_a_name_beside_the_entry_point_is_one_plugin(pytester, monkeypatch):
    """Where plugins load by themselves, -p pytest_isolate.plugin is no second one."""
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    pytester.makepyfile(test_it=TEST)
    pytester.runpytest_inprocess(
        "--co", "-q", "-p", "pytest_isolate.plugin", "-p", "pytest_isolate"
    ).stdout.fnmatch_lines(["*::test_inside"])


@pytest.mark.parametrize("name", NAMES)
def test_a_conftest_and_the_environment_load_it_by_any_name(pytester, monkeypatch, name):
    """``pytest_plugins`` and ``PYTEST_PLUGINS``, which know nothing of entry points but those that
    are loaded already.
    """
    pytester.makepyfile(test_it=TEST)
    if name != "isolate":
        pytester.makeconftest(f"pytest_plugins = [{name!r}]\nfrom pytest_isolate import isolate\n")
        pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)
    (pytester.path / "conftest.py").unlink(missing_ok=True)
    monkeypatch.setenv("PYTEST_PLUGINS", name)
    options = ["-p", "isolate"] if name == "isolate" else []
    pytester.runpytest_subprocess("-p", "no:cacheprovider", *options).assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("options", "loaded"),
    [
        (["no:isolate"], False),
        (["isolate", "no:isolate"], False),
        (["pytest_isolate", "no:isolate"], False),
        (["pytest_isolate", "no:pytest_isolate"], False),
        (["no:isolate", "isolate"], True),
        (["no:isolate", "pytest_isolate"], True),
    ],
    ids=str,
)
def test_the_last_word_of_the_command_line_counts(pytester, options, loaded):
    """-p no:isolate switches off what the ini file's addopts load, and -p isolate loads what they
    switch off, as with other plugins.
    """
    pytester.makepyfile(test_it=TEST)
    pytester.makeini("[pytest]\naddopts = " + " ".join(f"-p {name}" for name in options[:-1]))
    run = pytester.runpytest_inprocess("--co", "-q", "-p", options[-1])
    if loaded:
        run.stdout.fnmatch_lines(["test_it.py::test_inside"])
    else:
        run.assert_outcomes(errors=1)
        run.stdout.fnmatch_lines(
            ["test_it.py uses isolate, and the plugin is switched off by -p no:isolate: *"]
        )


@pytest.mark.parametrize(
    "uses",
    [
        "from pytest_isolate import isolate",
        "import pytest_isolate; isolate = pytest_isolate.isolate",
    ],
)
def test_a_module_that_uses_it_is_refused_where_it_is_not_loaded(pytester, uses):
    """Each such module is one collection error of one sentence; the others are tested."""
    body = f"{uses}\n@isolate\ndef test_it(): open('ran', 'w').close()\n"
    pytester.makepyfile(test_it=body, test_again=body, test_plain=PLAIN)
    run = pytester.runpytest_inprocess("--continue-on-collection-errors")
    run.assert_outcomes(errors=2, passed=1)
    run.stdout.fnmatch_lines([REFUSED])
    run.stdout.no_fnmatch_line("*Traceback*")
    assert not (pytester.path / "ran").exists()


def test_a_helper_with_marks_is_refused_too(pytester):
    """Whoever imports it, however often: pytest would otherwise run the second module's tests
    plain.
    """
    pytester.makepyfile(marks="from pytest_isolate import isolate\nheavy = isolate(memory='1G')\n")
    body = (
        "import sys; sys.path.insert(0, '.')\nfrom marks import heavy\n@heavy\ndef test_it():"
        " open('ran', 'w').close()\n"
    )
    pytester.makepyfile(test_one=body, test_two=body)
    run = pytester.runpytest_inprocess()
    run.assert_outcomes(errors=2)
    run.stdout.fnmatch_lines(["marks.py uses isolate, *"])


def test_marks_of_a_conftest_stop_the_run_where_a_test_has_one(pytester):
    """A conftest is imported before pytest knows all its plugins, so its marks are looked for when
    everything is collected.
    """
    pytester.makeconftest("from pytest_isolate import isolate\nheavy = isolate(memory='1G')\n")
    pytester.makepyfile(test_one="def test_plain(): pass\n")
    pytester.runpytest_inprocess("-W", "ignore").assert_outcomes(passed=1)
    pytester.makepyfile(
        test_two="from conftest import heavy\n@heavy\ndef test_it(): open('ran', 'w').close()\n"
    )
    run = pytester.runpytest_subprocess("-W", "ignore")
    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines(
        ["ERROR: test_two.py::test_it: conftest.py uses isolate, and the plugin is not loaded: *"]
    )
    assert not (pytester.path / "ran").exists()


def test_isolate_can_be_used_without_pytest():
    """A script, a documentation builder or an editor that imports the module is no run
    of pytest.
    """
    source = (
        "import pytest_isolate as p, inspect\n@p.isolate(pids=9)\ndef f():"
        " pass\nprint(f.pytestmark, inspect.getmembers(p))"
    )
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, check=True
    )
    assert "Mark(name='isolate'" in done.stdout


def test_a_test_may_use_it_in_a_run_of_its_own(pytester):
    """A pytest inside of a pytest: the inner one is asked, not the outer one."""
    pytester.makepyfile(test_it=TEST)
    run = pytester.runpytest_inprocess("-p", "isolate", "--co", "-q")
    run.stdout.fnmatch_lines(["test_it.py::test_inside"])
    pytester.runpytest_inprocess("--co", "-q").assert_outcomes(errors=1)


def test_a_test_module_can_load_it_for_those_behind_it(pytester):
    """``pytest_plugins`` of a module is read when the module has been imported: too late for its
    own ``isolate``, which is refused.
    """
    pytester.makepyfile(
        test_a="pytest_plugins = ['pytest_isolate']\ndef test_it(): pass\n", test_it=TEST
    )
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=2)
    pytester.makepyfile(test_a="pytest_plugins = ['pytest_isolate']\n" + TEST, test_it="")
    pytester.runpytest_inprocess().assert_outcomes(errors=1)


def _install_other(directory, entry_point):
    """The metadata of the other project, as pip leaves it."""
    info = directory / "pytest_isolate-0.0.17.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pytest-isolate\nVersion: 0.0.17\n")
    (info / "entry_points.txt").write_text(f"[pytest11]\npytest_isolate = {entry_point}\n")


@pytest.mark.parametrize(
    "options",
    [[], ["-p", "isolate"], ["-p", "pytest_isolate"], ["-p", "pytest_isolate.plugin"]],
    ids=" ".join,
)
def test_beside_the_other_project_one_sentence_names_it(pytester, monkeypatch, options):
    """Installed before ours, its entry point names a file that is ours now."""
    if not options:
        monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    _install_other(pytester.path, "pytest_isolate.plugin")
    pytester.makepyfile(test_it=PLAIN)
    run = pytester.run(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options)
    assert run.ret == pytest.ExitCode.USAGE_ERROR
    assert (
        str(run.stderr)
        .strip()
        .startswith(
            "ERROR: the other project pytest-isolate 0.0.17 is installed beside pytest-isolate-ns"
        )
    )
    assert "pip uninstall -y pytest-isolate pytest-isolate-ns, and install" in str(run.stderr)


#: Where files of ours are gone or another's, what is left of the package is enough to say so.
@pytest.mark.parametrize(
    ("init", "beside", "says"),
    [("'''Theirs.'''\n", True, "*the other project*"), (None, False, "*is not whole*")],
)
def test_the_sentence_comes_when_files_of_ours_are_anothers_or_gone(
    pytester, monkeypatch, init, beside, says
):
    """Installed after ours, it writes over two of our files; taken away again, it
    leaves neither.
    """
    package = pytester.path / "pytest_isolate"
    shutil.copytree(
        next(iter(pytest_isolate.__path__)), package, ignore=shutil.ignore_patterns("__pycache__")
    )
    for name in ("__init__.py", "plugin.py"):
        (package / name).unlink()
        if init is not None:
            (package / name).write_text(init)
    if beside:
        _install_other(pytester.path, "pytest_isolate.plugin")
    ours = pytester.path / "pytest_isolate_ns-9.dist-info"
    ours.mkdir()
    (ours / "METADATA").write_text("Metadata-Version: 2.1\nName: pytest-isolate-ns\nVersion: 9\n")
    (entry_point,) = (
        each for each in importlib.metadata.entry_points(group="pytest11") if each.name == "isolate"
    )
    (ours / "entry_points.txt").write_text(f"[pytest11]\nisolate = {entry_point.value}\n")
    pytester.makepyfile(test_it="def test_it(): pass\n")
    hides = f"""
import importlib.machinery, sys
class Here:
    def find_spec(name, path=None, target=None):
        if name != "pytest_isolate" or {init is not None}:
            return None
        spec = importlib.machinery.ModuleSpec(name, None, is_package=True)  # without an __init__: ours that is installed would win
        spec.submodule_search_locations = [{str(package)!r}]
        return spec
sys.meta_path = [Here, *(each for each in sys.meta_path if "editable" not in str(each))]
import pytest, pytest_isolate  # now, for pytest's own finder, which it puts before all others, knows sys.path alone
sys.exit(pytest.main())
"""
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    run = pytester.run(sys.executable, "-c", hides)
    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines([f"ERROR: {says}python -m pip *"])


def test_marks_of_a_conftest_that_loads_what_the_command_line_switches_off(pytester):
    """It is loaded while the conftest below uses ``isolate``, and leaves when the run is
    configured: nothing runs all the same.
    """
    pytester.makeconftest("pytest_plugins = ['pytest_isolate.plugin']\n")
    below = pytester.mkdir("below")
    (below / "conftest.py").write_text(
        "from pytest_isolate import isolate\ndef pytest_collection_modifyitems(items):"
        " [each.add_marker(isolate) for each in items]\n"
    )
    (below / "test_it.py").write_text("def test_it(): open('ran', 'w').close()\n")
    run = pytester.runpytest_subprocess("-p", "no:isolate", "below")
    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines(
        [
            (
                "ERROR: below/test_it.py::test_it: below/conftest.py uses isolate, *switched off by -p"
                " no:isolate*"
            )
        ]
    )
    assert not (pytester.path / "ran").exists()
