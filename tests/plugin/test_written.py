"""What a test does to the file system is listed, shown where it failed, and kept on demand."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

pytestmark = pytest.mark.kernel

WRITES = """
import os, shutil
from pathlib import Path

HERE = Path(__file__).parent / "machine"

def test_writes(tmp_path):
    (HERE / "new").write_text("n")
    (HERE / "changed").write_text("other")
    os.chmod(HERE / "mode", 0o600)
    os.unlink(HERE / "removed")
    (HERE / "same").open("a").close()
    shutil.rmtree(HERE / "replaced")
    os.makedirs(HERE / "replaced/deeper")
    (tmp_path / "mine").write_text("in tmp_path")
    assert not FAILS
"""


@pytest.fixture
def machine(pytester) -> Path:
    """Files of the machine that the test writes to."""
    directory = pytester.path / "machine"
    (directory / "replaced").mkdir(parents=True)
    for name in ("changed", "mode", "removed", "same", "replaced/old"):
        (directory / name).write_text("original")
    return directory


@pytest.mark.needs("user_xattr")
def test_the_report_lists_what_was_created_modified_and_deleted(pytester, isolated, machine):
    """Whiteouts, replaced directories and changes of mode are understood; a file that was only
    opened is not listed.
    """
    pytester.makepyfile(WRITES.replace("FAILS", "False"))
    isolated("--isolate-all", "--isolate-report=report.json").assert_outcomes(passed=1)
    files = json.loads((pytester.path / "report.json").read_text())["tests"][0]["files"]
    listed = {
        kind: [path.removeprefix(f"{machine}/") for path in paths if path.startswith(str(machine))]
        for kind, paths in files.items()
    }
    assert listed == {
        "created": ["new", "replaced/deeper"],
        "modified": ["changed", "mode", "replaced"],
        "deleted": ["removed"],
    }
    assert any(path.endswith("/mine") for path in files["created"])
    assert sorted(path.name for path in machine.iterdir()) == [
        "changed",
        "mode",
        "removed",
        "replaced",
        "same",
    ]


@pytest.mark.needs("user_xattr")
def test_a_failing_test_shows_what_it_wrote_outside_of_its_tmp_path(pytester, isolated, machine):
    """One line, in the isolate section."""
    pytester.makepyfile(WRITES.replace("FAILS", "True"))
    (line,) = [
        line
        for line in isolated("--isolate-all").outlines
        if line.startswith("files (discarded): ")
    ]
    assert f"deleted '{machine}/removed'" in line
    assert "mine" not in line


@pytest.mark.needs("user_xattr")
@pytest.mark.parametrize(
    ("keep", "fails", "kept"),
    [("failed", True, True), ("failed", False, False), ("all", False, True), ("none", True, False)],
)
def test_what_was_written_is_kept_on_demand(pytester, isolated, machine, keep, fails, kept):
    """--isolate-keep copies it below --isolate-artifacts, by test and path; a second run gets a
    folder of its own.
    """
    pytester.makepyfile(WRITES.replace("FAILS", str(fails)))
    for _ in range(2):
        isolated("--isolate-all", f"--isolate-keep={keep}", "--isolate-artifacts=out")
    found = sorted((pytester.path / "out").rglob(f"*/{str(machine).lstrip('/')}/new"))
    assert len(found) == 2 * kept
    assert all(path.read_text() == "n" for path in found)


@pytest.mark.needs("overlay", "user_xattr")
def test_nothing_else_is_kept(pytester, isolated, machine):
    """Not the sandbox's own files, nor directories that were there; of who wrote nothing, nothing."""
    pytester.makepyfile(
        test_it=f"""
        import os, shutil
        from pathlib import Path
        def test_writes(): Path({str(machine)!r}, "new").mkdir()
        def test_hosts():
            if os.geteuid() == 0: Path("/etc/hosts").write_text("mine")
        def test_link():
            shutil.rmtree({str(machine)!r})
            os.symlink("/etc", {str(machine)!r})
        def test_nothing(): pass
        """
    )
    hosts = Path("/etc/hosts").read_text()
    isolated("--isolate-all", "--isolate-keep=all", "--isolate-artifacts=out")
    out, here = pytester.path / "out", str(machine).lstrip("/")
    kept = {
        name: {
            str(each.relative_to(out / f"test_it.py_test_{name}"))
            for each in (out / f"test_it.py_test_{name}").rglob("*")
            if each.is_symlink() or each.is_file() or not os.listdir(each)
        }
        for name in ("writes", "hosts", "link", "nothing")
    }
    link = kept.pop("link")
    assert here in link
    assert not any(each.startswith("etc") for each in link)
    mine = {"etc/hosts"} if os.geteuid() == 0 else set()
    assert kept == {"writes": {f"{here}/new"}, "hosts": mine, "nothing": set()}
    assert not (out / "test_it.py_test_nothing").exists()
    assert Path("/etc/hosts").read_text() == hosts


def test_tests_of_a_group_have_their_own_lists(pytester, isolated):
    """What an earlier test of the same sandbox wrote is not listed again."""
    pytester.makepyfile("""
        from pathlib import Path
        import pytest
        from pytest_isolate import isolate
        pytestmark = isolate(scope="module")
        @pytest.mark.parametrize("name", ["one", "two"])
        def test_writes(name): Path(__file__).with_name(name).touch()
    """)
    isolated("--isolate-report=report.json").assert_outcomes(passed=2)
    tests = json.loads((pytester.path / "report.json").read_text())["tests"]
    assert [
        [Path(path).name for path in test["files"]["created"] if "__pycache__" not in path]
        for test in tests
    ] == [["one"], ["two"]]
