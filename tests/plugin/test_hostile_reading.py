"""What pytest reads and says for a test: nothing that the test could not have read, no other test's
name, nothing that a terminal obeys.
"""

from __future__ import annotations

import os
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.kernel, pytest.mark.hostile]


@pytest.fixture
def directory() -> Iterator[Path]:
    """One that everybody may read."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        os.chmod(name, 0o755)
        yield Path(name)


@pytest.mark.needs("root")
def test_a_warning_shows_no_line_that_its_test_could_not_read(pytester, isolated, directory):
    """``warnings`` reads the line of whatever file is named, in pytest, which is root."""
    secret = directory / "secret.py"
    secret.write_text("TOKEN = 'very secret'\n")
    secret.chmod(0o600)
    (directory / "open.py").write_text("TOKEN = 'for everybody'\n")
    # To which exceptions are shown in pytest
    (pytester.path / "conftest.py").write_text("def pytest_exception_interact(call): pass\n")
    pytester.makepyfile(f"""
        import os, warnings
        from pytest_isolate import isolate
        @isolate(user="nobody")
        def test_it():
            try: open({str(secret)!r})
            except PermissionError: pass
            else: raise AssertionError
            for name in ("secret.py", "open.py", "/etc/shadow"):
                warnings.warn_explicit("said", UserWarning, os.path.join({str(directory)!r}, name), 1)
        @isolate(user="nobody")
        def test_interrupts():
            exec(compile("raise KeyboardInterrupt", {str(secret)!r}, "exec"))
    """)
    result = isolated()
    output = result.stdout.str() + result.stderr.str()
    assert "for everybody" in output, output
    assert "very secret" not in output, output
    assert "root:" not in output, output
    assert "KeyboardInterrupt" in output, output


@pytest.mark.needs("strict")
@pytest.mark.parametrize("profile", [None, "strict"])
def test_no_line_is_shown_of_what_is_hidden(pytester, isolated, profile):
    """Nor is it in the memory of later tests, for pytest had to read it."""
    (pytester.mkdir("keys") / "key").write_text("TOKEN = 'very secret'\n")
    (pytester.path / ".env").write_text("TOKEN = 'very secret'\n")
    os.symlink("keys", pytester.path / "link")
    pytester.makepyfile(f"""
        import linecache, warnings
        import pytest
        from pytest_isolate import isolate
        pytestmark = isolate(fs_hide=["keys", ".env"], profile={profile!r})
        NAMES = [".env", "keys/key", "link/key"]
        @pytest.mark.parametrize("name", NAMES)
        def test_it(name, pytestconfig):
            path = str(pytestconfig.rootpath / name)
            with pytest.raises(FileNotFoundError):
                open(path)
            warnings.warn_explicit("said", UserWarning, path, 1)
        @pytest.mark.parametrize("name", NAMES)
        def test_after(name, pytestconfig):
            assert not linecache.getlines(str(pytestconfig.rootpath / name))
    """)
    result = isolated()
    result.assert_outcomes(passed=6, warnings=3)
    assert "very secret" not in result.stdout.str()


@pytest.mark.needs("strict")
@pytest.mark.parametrize("profile", [None, "strict"])
def test_no_strict_test_says_that_it_is_another_one(pytester, isolated, profile):
    """Nor anything of the suite. What is its own comes as in a plain run."""
    pytester.makepyfile(f"""
        import pytest
        from pytest_isolate import isolate
        pytestmark = isolate(profile={profile!r})
        @pytest.mark.filterwarnings("ignore::pytest.PytestExperimentalApiWarning")
        def test_it(record_xml_attribute, record_property, record_testsuite_property):
            record_xml_attribute("name", "test_other")
            record_xml_attribute("assertions", "REQ-1")
            record_property("own", "said")
            record_testsuite_property("whose", "the suite's")
        def test_other(): pass
    """)
    result = isolated(f"--junitxml={pytester.path / 'junit.xml'}", "-o", "junit_family=xunit1")
    result.assert_outcomes(passed=2, warnings=1 if profile else 0)
    root = ET.parse(pytester.path / "junit.xml").getroot()
    assert [case.get("name") for case in root.iter("testcase")] == (
        ["test_it", "test_other"] if profile else ["test_other", "test_other"]
    )
    assert next(root.iter("testcase")).get("assertions") == "REQ-1"
    assert {each.get("value") for each in root.iter("property")} >= {"said"}
    assert ("the suite's" in {each.get("value") for each in root.iter("property")}) == (
        profile is None
    )
    if profile:
        result.stdout.fnmatch_lines(
            ["*set a property of the whole suite, or which test it is, in JUnit's file*"]
        )


def test_a_process_that_is_left_behind_says_nothing_to_the_terminal(pytester, isolated):
    """A command is what its process says that it is.

    GitHub obeys lines that begin with two colons, a terminal obeys escapes.
    """
    pytester.makepyfile(r"""
        import subprocess
        def test_it():
            subprocess.Popen(["\x1b[31mred\n::error file=a::forged\n", "98765"], executable="/bin/sleep")
    """)
    for options in (
        (),
        ("--isolate-leaks=error", "--isolate-report=report.json", "--isolate-html=page.html"),
    ):
        result = isolated("--isolate-all", "--color=no", *options)
        output = result.stdout.str()
        assert r"\x1b[31mred\n::error file=a::forged" in output, output
        assert "\x1b" not in output
        assert not [line for line in result.stdout.lines if line.startswith("::")], output


@pytest.mark.needs("strict")
def test_names_that_no_file_can_have(pytester, isolated):
    """And those that a person reads: whatever a test says of its ``tmp_path``, the run goes on."""
    pytester.makepyfile(r"""
        import os, pytest
        from pytest_isolate import isolate
        pytestmark = isolate(profile="strict")
        @pytest.mark.parametrize("name", ["x" * 300, "\u00e9" * 200, "a\n::error file=a::forged", "x" * 255])
        def test_it(name, request, tmp_path_factory):
            base = str(tmp_path_factory.getbasetemp())
            try: os.mkdir(f"{base}/{name}")
            except OSError: pass
            writer = request.config.pluginmanager.getplugin("isolate-run").side.child._line.writer
            writer.send({"kind": "tmp_path", "path": f"{base}/{name}"})
            assert False
        def test_after(): pass
    """)
    result = isolated("--isolate-keep=failed")
    result.assert_outcomes(passed=1, failed=4)
    assert not [line for line in result.stdout.lines if line.startswith("::")], result.stdout.str()
    assert os.listdir(pytester.path / "isolate-artifacts")


def test_half_a_character_is_not_the_end_of_all_workers(pytester, isolated):
    """Execnet sends texts in UTF-8: what has none is spelled out."""
    pytester.makepyfile(
        test_it=r"""
        import warnings
        def test_raises(): raise ValueError("\ud800")
        def test_tells(record_property): record_property("a\udcff", {"\udcff": ["\udcff"]})
        def test_warns(): warnings.warn("\udfff")
        def test_after(): pass
    """
    )
    result = isolated(
        "--isolate-all", "-n1", "--isolate-report=report.json", "--junitxml=junit.xml"
    )
    result.assert_outcomes(passed=3, failed=1, warnings=1)
    result.stdout.fnmatch_lines([r"FAILED test_it.py::test_raises - ValueError: \ud800"])
