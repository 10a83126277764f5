"""What machines are told of a run: GitHub's runner and those who read JUnit XML, whatever a test is
called.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

pytestmark = pytest.mark.anybody


@pytest.mark.parametrize("listening", [True, False])
def test_github_gets_annotations_and_a_summary_when_it_listens(
    pytester, isolated, monkeypatch, listening
):
    """At the test's line, from the repository's root; nothing of it anywhere else."""
    project = pytester.mkdir("sub")
    (project / "pytest.ini").write_text("[pytest]")
    (project / "test_it.py").write_text("\n\ndef test_gone():\n    import os; os._exit(0)\n")
    monkeypatch.setenv("GITHUB_ACTIONS", "true" if listening else "")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(pytester.path))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(pytester.path / "summary.md"))
    result = isolated("--isolate-all", "sub")
    found = [line for line in result.outlines if line.startswith("::error")]
    if not listening:
        assert (found, (pytester.path / "summary.md").exists()) == ([], False)
        return
    assert len(found) == 1
    assert found[0].startswith(
        "::error file=sub/test_it.py,line=3,title=crash%3A test_it.py%3A%3Atest_gone::its"
        " process exited with status 0"
    )
    assert "1 test, 1 violation" in (pytester.path / "summary.md").read_text()


def test_a_violation_is_on_the_line_of_its_test(pytester, isolated):
    """What raises it is ours; where it happened is the test's."""
    test = pytester.makepyfile("import os\n\ndef test_gone():\n    os._exit(3)")
    (said,) = [
        each for each in isolated("--isolate-all", "--tb=line").outlines if ": Crashed: " in each
    ]
    assert said.startswith(f"{test}:3: Crashed: its process exited with status 3"), said


HOSTILE = """
import pytest
class Gone(pytest.Item):
    def runtest(self):
        import os
        os._exit(3)
class File(pytest.File):
    def collect(self):
        for name in NAMES:
            yield Gone.from_parent(self, name=name)
def pytest_collect_file(file_path, parent):
    return File.from_parent(parent, path=file_path) if file_path.suffix == ".any" else None
NAMES = ["a|b`c<img src=x>", "100%\\n::error::forged", "\\x1b[31mred\\x07", "x,y:z", "]]>&amp;<x/>", "\\u202erev\\x85next"]
"""


def test_hostile_names_reach_github_as_one_command_each_and_every_row_is_a_row(
    pytester, isolated, monkeypatch
):
    """A collector of a conftest's own may call a test anything; so may a file."""
    pytester.makeconftest(HOSTILE)
    for name in ("t.any", "a|b<i>.any", "new\nline.any"):
        (pytester.path / name).touch()
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(pytester.path))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(pytester.path / "summary.md"))
    result = isolated(
        "--isolate-all",
        "--tb=no",
        "-rN",
        f"--junitxml={pytester.path / 'junit.xml'}",
        "--isolate-html=page.html",
    )
    result.assert_outcomes(failed=18)
    commands = [line for line in result.outlines if line.startswith("::")]
    assert [line[:12] for line in commands] == ["::error file"] * 18
    assert (
        sum(
            "file=new%0Aline.any,title=crash%3A"
            " new%0Aline.any%3A%3A100%25%0A%3A%3Aerror%3A%3Aforged::its process " in c
            for c in commands
        )
        == 1
    )
    assert not any(each in line for line in result.outlines for each in "\x1b\x07\u202e\x85")
    rows = [
        line
        for line in (pytester.path / "summary.md").read_text().split("\n")
        if line.startswith("|")
    ]
    assert len([row for row in rows if " | crash | its process " in row]) == 18
    cases = list(ET.parse(pytester.path / "junit.xml").getroot().iter("testcase"))
    assert len(cases) == 18
    assert {case.find("failure").get("message")[:21] for case in cases} == {"Crashed: its process "}


def test_junit_xml_has_the_figures_of_a_test_that_is_gone(pytester, isolated):
    """Killed, crashed or without a sandbox: those are the ones that somebody looks up.

    What it had recorded before is kept.
    """
    pytester.makepyfile("""
        import os, pytest
        def test_fine(record_property): record_property("mine", 1)
        def test_crash(record_property):
            record_property("mine", 2)
            os._exit(1)
        @pytest.fixture
        def early(record_property): record_property("mine", 3)
        @pytest.mark.isolate(timeout=0.2)
        def test_late(early): os.read(os.pipe()[0], 1)
        @pytest.mark.isolate(memory="12MB")
        def test_typo(): pass
        """)
    isolated("--isolate-all", f"--junitxml={pytester.path / 'junit.xml'}")
    found = {
        case.get("name"): {each.get("name"): each.get("value") for each in case.iter("property")}
        for case in ET.parse(pytester.path / "junit.xml").getroot().iter("testcase")
    }
    verdicts = {name: properties["isolate.verdict"] for name, properties in found.items()}
    assert verdicts == {
        "test_fine": "ok",
        "test_crash": "crash",
        "test_late": "timeout",
        "test_typo": "sandbox_error",
    }
    assert [name for name, properties in found.items() if "isolate.wall_seconds" in properties] == [
        "test_fine",
        "test_crash",
        "test_late",
    ]
    assert float(found["test_late"]["isolate.wall_seconds"]) >= 0.2
    assert (found["test_fine"]["mine"], found["test_late"].get("mine")) == ("1", "3")
