"""What a test that is killed still says: its tmp_path, its records and prints, the threads that it
may have waited for.
"""

from __future__ import annotations

import re
import sys

import pytest

#: Ways to set a tmp_path up, and to die with it.
KILLED = """
import os, time, unittest, pytest

def note(path):
    (path / "log.txt").write_text("valuable")
    os.abort()

@pytest.fixture
def dies(tmp_path): note(tmp_path)
@pytest.fixture
def dies_late(tmp_path):
    yield
    note(tmp_path)

def test_call(tmp_path): note(tmp_path)
def test_setup(dies): pass
def test_teardown(dies_late): pass
def test_asks(request): note(request.getfixturevalue("tmp_path"))
def test_legacy(tmpdir): note(__import__("pathlib").Path(tmpdir))
class TestUnit(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def _prepare(self, tmp_path): self.path = tmp_path
    def test_unit(self): note(self.path)
@pytest.mark.isolate(timeout="300ms")
def test_late(tmp_path):
    (tmp_path / "log.txt").write_text("valuable")
    time.sleep(60)
@pytest.mark.isolate(scope="class")
class TestGroup:
    def test_first(self, tmp_path): pass
    def test_second(self, tmp_path): note(tmp_path)
"""
NAMES = ("call", "setup", "teardown", "asks", "legacy", "unit", "late", "second")


def test_the_tmp_path_of_a_killed_test_comes_back(pytester, monkeypatch):
    """Wherever in its life it was killed, and however it came to a tmp_path."""
    monkeypatch.setenv("PYTEST_DEBUG_TEMPROOT", str(pytester.mkdir("temporary")))
    pytester.makepyfile(KILLED)
    pytester.run(
        sys.executable, "-m", "pytest", "-p", "isolate", "--isolate-all", "-q"
    ).assert_outcomes(passed=2, failed=6, errors=2)
    logs = pytester.path.glob("temporary/pytest-of-*/pytest-0/*/log.txt")
    assert {path.parent.name: path.read_text() for path in logs} == {
        f"test_{name}0": "valuable" for name in NAMES
    }


@pytest.mark.parametrize(("policy", "kept"), [("all", True), ("failed", False)])
def test_the_tmp_path_of_a_failed_teardown_is_kept_as_pytest_keeps_it(
    pytester, isolated, policy, kept
):
    """Plain pytest removes it as soon as the call has passed, unless it keeps all."""
    pytester.makeini(f"[pytest]\ntmp_path_retention_policy = {policy}")
    pytester.makepyfile("""
        import pytest
        @pytest.fixture
        def fails(tmp_path):
            yield
            (tmp_path / "log.txt").write_text("valuable")
            assert 0
        def test_a(fails): pass
        """)
    isolated("--isolate-all", "--basetemp=base").assert_outcomes(passed=1, errors=1)
    assert (pytester.path / "base/test_a0/log.txt").exists() is kept


SAID = """
import logging, os, signal, sys, time, pytest

@pytest.fixture(scope="module")
def shared():
    print("words of the shared")
    logging.getLogger("db").warning("record of the shared")
@pytest.fixture
def prepared():
    print("words of set-up")
    logging.getLogger("db").warning("record of set-up")
@pytest.fixture
def dies():
    logging.warning("record of dying set-up")
    os.kill(os.getpid(), signal.SIGKILL)

def test_crash(prepared):
    print("words of call")
    print("errors of call", file=sys.stderr)
    logging.getLogger("db").error("record of call %d", 7)
    logging.info("not at this level")
    os.kill(os.getpid(), signal.SIGKILL)
def test_setup(shared, prepared, dies): pass
@pytest.mark.isolate(timeout="300ms")
def test_late():
    quiet = logging.getLogger("quiet")
    quiet.propagate = False
    logging.warning("record before the end")
    time.sleep(60)
def test_many():
    os.closerange(3, 1000)
    for number in range(5000): logging.warning("record %d", number)
    os._exit(1)
"""


@pytest.mark.parametrize("capture", ["fd", "sys", "tee-sys"])
def test_records_and_output_before_a_death_are_shown(pytester, isolated, capture):
    """Under pytest's own headings, in its own format and at its own level, those of earlier phases
    and of shared fixtures too.
    """
    pytester.makepyfile(SAID)
    pytester.makeini("[pytest]\nlog_format = %(levelname)s<%(name)s>%(message)s")
    output = isolated("--isolate-all", "-q", f"--capture={capture}").stdout.str()
    sections = {
        name: dict(
            re.findall(
                r"^-+ (Captured .*?) -+\n(.*?)\n(?=-{5,} |[_=]{5,} )",
                text,
                re.MULTILINE | re.DOTALL,
            )
        )
        for name, text in re.findall(
            r"^_+ (?:ERROR at setup of )?(test_\w+) _+$(.*?)(?=^_{5,} |^={5,} )",
            output,
            re.MULTILINE | re.DOTALL,
        )
    }
    assert sections["test_crash"] == {
        "Captured stdout setup": "words of set-up",
        "Captured log setup": "WARNING<db>record of set-up",
        "Captured stdout call": "words of call",
        "Captured stderr call": "errors of call",
        "Captured log call": "ERROR<db>record of call 7",
    }
    assert sections["test_setup"] == {
        "Captured stdout setup": "words of the shared\nwords of set-up",
        "Captured log setup": (
            "WARNING<db>record of the shared\nWARNING<db>record of set-up\nWARNING<root>record of"
            " dying set-up"
        ),
    }
    assert sections["test_late"] == {"Captured log call": "WARNING<root>record before the end"}
    first, *_, last = sections["test_many"]["Captured log call"].splitlines()
    assert (first, last) == ("... what came before is left out ...", "WARNING<root>record 4999")


POOL = """
import concurrent.futures, time, pytest
pool = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="warm-pool")

@pytest.mark.isolate(timeout="300ms", scope="module")
@pytest.mark.parametrize("number", range(2))
def test_waits(number): time.sleep(60 * number)
"""


@pytest.mark.parametrize("warm", [True, False])
def test_a_timeout_names_the_threads_that_a_test_lacks(pytester, isolated, monkeypatch, warm):
    """What was alive in pytest at the fork and is not in its copy; of a shared sandbox at the fork
    of its first test.
    """
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # some have threads of their own
    pytester.makepyfile(POOL + "pool.submit(int).result()\n" * warm)
    result = isolated("-q")
    result.assert_outcomes(passed=1, failed=1)
    said = (
        "threads: pytest had 'warm-pool_0' at the fork, which the test's copy of it lacks: what"
        " waits there for one of them*"
    )
    if warm:
        result.stdout.fnmatch_lines([said])
    else:
        result.stdout.no_fnmatch_line("threads: *")
