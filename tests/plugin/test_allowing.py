"""``fs_allow``: what a test changes besides fails it, whoever did it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

pytestmark = pytest.mark.kernel

HEAD = """
import os, subprocess, sys
from pathlib import Path
import pytest
from pytest_isolate import FilesystemDenied, isolate

HERE = Path(__file__).parent
"""
CHANGES = """
@isolate(fs_allow=["tmp_path", "build/**", "logs/*.log"])
def test_keeps_to_it(tmp_path):
    (tmp_path / "a").write_text("a")
    (HERE / "build/deep").mkdir(parents=True)
    (HERE / "build/deep/b").write_text("b")
    os.mkdir(HERE / "logs")
    (HERE / "logs/c.log").write_text("c")
    open(HERE / "kept", "r+").close()
    (HERE / "passing").write_text("gone again")
    os.unlink(HERE / "passing")

@isolate(fs_allow=["tmp_path", "build/**"])
def test_by_python():
    os.mkdir(HERE / "made")  # makes
    (HERE / "changed").write_text("other")  # changes
    os.chdir(HERE)
    os.unlink("removed")  # removes

@isolate(fs_allow=[])
def test_by_another_program():
    subprocess.run(["sh", "-c", f"echo x > {HERE}/made; chmod 700 {HERE}/mode"], check=True)

@isolate(fs_allow=["build"])
def test_by_memory():
    import mmap
    with open(HERE / "changed", "r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:  # maps
        mapped[:1] = b"O"

@pytest.fixture
def writes():
    (HERE / "made").write_text("x")  # sets up

@isolate(fs_allow=[])
def test_in_setup(writes): pass

@isolate(fs_allow=["build"])
def test_its_tmp_path(tmp_path):
    (tmp_path / "a").write_text("a")  # in tmp_path

@isolate(fs_allow=[])
def test_a_tmp_path_is_not_its_own_doing(tmp_path, tmp_path_factory): pass

@isolate(fs_allow=["tmp_path_factory"])
def test_of_the_factory(tmp_path_factory):
    (tmp_path_factory.mktemp("x") / "a").write_text("a")

@isolate(fs_allow=[])
@pytest.mark.xfail(raises=FilesystemDenied, strict=True)
def test_is_expected(): (HERE / "made").write_text("x")  # expected

@isolate(fs_allow=[])
def test_dies():
    (HERE / "made").write_text("x")
    os._exit(0)
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> Path:
    """Files of the machine that tests may not change."""
    for name in ("kept", "changed", "removed", "mode"):
        (pytester.path / name).write_text("original")
    return Path(os.path.realpath(pytester.path))


@pytest.fixture
def denied(pytester, isolated):
    """Run tests; give the sentences of the report by test, without what they have in common."""

    def run(*args: str) -> dict[str, list[str]]:
        isolated("--isolate-report=report.json", *args)
        found = {}
        for entry in json.loads((pytester.path / "report.json").read_text())["tests"]:
            name = entry["nodeid"].rpartition("::")[2]
            found[name] = []
            for each in entry["violations"]:
                told, _, changes = each["message"].partition(" to files that it may not change: ")
                changes = changes.rpartition(" (fs_allow=")[0]
                what = changes.replace(f"{os.path.realpath(pytester.path)}/", "") or told
                found[name].append(f"{each['resource']} in {each['phase']}: {what}")
        return found

    return run


def _line(mark: str, source: str = HEAD + CHANGES) -> str:
    """Where a line with this comment is."""
    lines = enumerate(source.strip().splitlines(), 1)
    (found,) = (number for number, line in lines if f"  # {mark}" in line)
    return f"test_it.py:{found}"


def test_what_a_test_changes_besides_fails_it_with_path_and_line(pytester, denied, project):
    """By Python, by programs, by mapped memory; the phase is that of the line, or the call."""
    pytester.makepyfile(test_it=HEAD + CHANGES)
    found = denied()
    (tmp,) = found.pop("test_its_tmp_path")
    assert tmp.endswith(f"/test_its_tmp_path0/a' created at {_line('in tmp_path')}")
    by_python = (
        f"filesystem in call: 'made' created at {_line('makes')}, 'changed' modified at"
        f" {_line('changes')}, 'removed' deleted at {_line('removes')}"
    )
    assert found == {
        "test_keeps_to_it": [],
        "test_by_python": [by_python],
        "test_by_another_program": ["filesystem in call: 'made' created, 'mode' modified"],
        "test_by_memory": [f"filesystem in call: 'changed' modified at {_line('maps')}"],
        "test_in_setup": [f"filesystem in setup: 'made' created at {_line('sets up')}"],
        "test_a_tmp_path_is_not_its_own_doing": [],
        "test_of_the_factory": [],
        "test_is_expected": [f"filesystem in call: 'made' created at {_line('expected')}"],
        "test_dies": ["filesystem in call: 'made' created"],
    }
    assert (project / "changed").read_text() == "original"


def test_outcomes_are_pytests_own(pytester, isolated, project):
    """A violation in set-up is an error, one that was expected is no failure."""
    pytester.makepyfile(test_it=HEAD + CHANGES)
    result = isolated("-k", "in_setup or expected or keeps or factory")
    result.assert_outcomes(errors=1, xfailed=1, passed=2)
    assert (
        "E   FilesystemDenied: made 1 change to files that it may not change: 'made' created at"
    ) in result.stdout.str().replace(f"{os.path.realpath(pytester.path)}/", "")
    result.stdout.fnmatch_lines(
        ["E   * (fs_allow=[[][]], set by @isolate on function test_it.py::test_in_setup)"]
    )


def test_what_others_write_is_not_the_tests(pytester, isolated):
    """Caches of pytest, byte code, coverage's data, Hypothesis's examples."""
    (pytester.path / "helper.py").write_text("A = 1\n")
    pytester.makepyfile(
        HEAD
        + """
from hypothesis import given, strategies

def test_imports(request):
    sys.path.insert(0, str(HERE))
    import helper
    request.config.cache.set("a/b", 1)
    subprocess.run([sys.executable, "-c", "import helper"], cwd=HERE, check=True)
    assert list((HERE / "__pycache__").glob("helper*"))

@given(strategies.integers())
def test_finds_examples(number): assert number < 100
"""
    )
    pytester.makeini("[pytest]\nisolate_fs_allow = tmp_path")
    result = isolated("--isolate-all", "-p", "cacheprovider")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.no_fnmatch_line("*FilesystemDenied*")


SHARED = """
class TestIt:
    def test_a(self, tmp_path): (tmp_path / "a").write_text(str(tmp_path))
    def test_b(self, tmp_path): (tmp_path / "b").write_text("b")
    def test_c(self): (HERE / "made").write_text("c")  # makes
    def test_d(self): pass
"""


@pytest.mark.parametrize(
    "args", [["--isolate-scope=class"], ["--isolate-jobs=2"], ["-n2"]], ids=str
)
def test_every_way_to_run_judges_alike(pytester, denied, args):
    """In a sandbox that tests share, beside others and in workers. From the command line."""
    pytester.makepyfile(test_it=HEAD + SHARED)
    found = denied("--isolate-all", "--isolate-fs-allow=tmp_path", *args)
    line = _line("makes", HEAD + SHARED)
    assert found == {
        "test_a": [], "test_b": [], "test_d": [],
        "test_c": [f"filesystem in call: 'made' created at {line}"],
    }  # fmt: skip


def test_ten_thousand_files_are_told_apart(pytester, denied):
    """Where they are allowed nobody looks; else the directory is named, and their number said."""
    source = (
        HEAD
        + """
def write(folder):
    folder.mkdir()  # makes
    for number in range(10_000): os.close(os.open(folder / str(number), os.O_CREAT | os.O_WRONLY))

@isolate(fs_allow=["build/**"])
def test_allowed(): write(HERE / "build")

@isolate(fs_allow=["a"])
def test_denied(): write(HERE / "b")
"""
    )
    pytester.makepyfile(test_it=source)
    found = denied()
    assert found["test_allowed"] == []
    makes = _line("makes", source)
    told = f"filesystem in call: 'b' created at {makes}, 999 in it, more"
    assert found["test_denied"] == [told]


def test_bad_values_are_one_sentence(pytester, isolated):
    """What cannot be judged, hidden or bound is refused before anything runs."""
    (pytester.path / "there").write_text("")
    pytester.makepyfile(
        HEAD
        + """
@isolate(fs_allow=["build"], fs="host")
def test_host(): pass

@isolate(fs_hide=[".."])
def test_all(): pass

@isolate(bind=["/usr:/no/such"], fs="readonly")
def test_nowhere(): pass

@isolate(bind=[f"/usr:{HERE}/there"])
def test_another_kind(): pass
"""
    )
    result = isolated()
    result.assert_outcomes(errors=4)
    here = os.path.realpath(pytester.path)
    said = result.stdout.str()
    module = "test_bad_values_are_one_sentence.py"
    host = (
        f"with fs='host' (by @isolate on function {module}::test_host) a test writes to the machine"
        " itself, where nothing tells its writes from those of others; it takes fs='overlay' or"
        " 'readonly'"
    )
    needed = (
        f"isolate: fs_hide='{os.path.dirname(here)}' (by @isolate on function {module}::test_all):"
        f" {here} is in there, which the test needs"
    )
    made = "there is no /no/such, which is made only with fs='overlay'; this is fs='readonly' (by"
    for sentence in (host, needed, made, f"{here}/there is no directory, unlike /usr"):
        assert sentence in said
