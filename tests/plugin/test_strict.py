"""``profile="strict"`` as a user meets it."""

from __future__ import annotations

import json

import pytest

from pytest_isolate._config.keywords import KEYWORDS
from pytest_isolate._plan import strictness

pytestmark = pytest.mark.kernel

STRICT = "from pytest_isolate import isolate\npytestmark = isolate(profile='strict')\n"


@pytest.fixture
def no_seccomp(pytester, monkeypatch):
    """A machine where the library is not installed: its module says so when it is imported, as
    pyseccomp does without libseccomp.
    """
    (pytester.mkdir("without") / "pyseccomp.py").write_text(
        "raise RuntimeError('Unable to find libseccomp')"
    )
    monkeypatch.setenv("PYTHONPATH", str(pytester.path / "without"), prepend=":")


@pytest.mark.needs("strict")
@pytest.mark.parametrize(("profile", "kept"), [("None", True), ("'strict'", False)])
def test_descriptors_of_fixtures_are_closed(pytester, outcomes, profile, kept):
    """What pytest has open is open in a test, but under strict, where its number fails and is
    nobody else's.
    """
    pytester.makepyfile(f"""
        import errno, os, pytest
        from pytest_isolate import isolate
        imported = os.open("/tmp", os.O_RDONLY | os.O_DIRECTORY)
        @pytest.fixture(scope="session")
        def log(tmp_path_factory):
            with open(tmp_path_factory.getbasetemp() / "log", "w") as file:
                yield file
        @isolate(profile={profile})
        def test_it(log, tmp_path):
            others = [open(tmp_path / str(number), "w") for number in range(20)]
            assert not {{log.fileno(), imported}} & {{other.fileno() for other in others}}
            try:
                os.write(log.fileno(), b"x")
                os.listdir(imported)
            except OSError as error:
                assert not {kept} and error.errno == errno.EBADF
            else:
                assert {kept}
    """)
    assert outcomes() == [("test_it",)]


@pytest.mark.needs("strict")
@pytest.mark.parametrize(("profile", "kept"), [("None", True), ("'strict'", False)])
def test_the_cache_is_not_brought_back(pytester, profile, kept):
    """A later run reads pytest's cache: what a hostile test wrote there would speak to it."""
    pytester.makepyfile(f"""
        from pytest_isolate import isolate
        @isolate(profile={profile})
        def test_it(cache):
            cache.set("mine/value", 1)
    """)
    pytester.runpytest_subprocess("-p", "isolate", timeout=120).assert_outcomes(passed=1)
    assert (pytester.path / ".pytest_cache/v/mine/value").exists() is kept


@pytest.mark.needs("strict")
def test_everything_of_a_usual_test_works(pytester, outcomes):
    """Limits, output, temporary files, sub-processes, threads, shared sandboxes and a failing
    test's report.
    """
    pytester.makepyfile(
        STRICT
        + """
import subprocess, sys, threading
@isolate(timeout="60s", disk="16M", files=64, scope="module")
class TestOne:
    def test_writes(self, tmp_path, monkeypatch):
        monkeypatch.setenv("A", "b")
        (tmp_path / "file").write_text("x")
        assert subprocess.run([sys.executable, "-c", "print(1)"], capture_output=True).stdout == b"1\\n"
        thread = threading.Thread(target=print)
        thread.start()
        thread.join()
    def test_fails(self):
        assert 1 == 2
"""
    )
    assert outcomes() == [("test_writes",), ("test_fails", "failure: assert 1 == 2")]


@pytest.mark.parametrize("mode", ["error", "skip", "warn"])
def test_without_its_library_strict_is_missing(pytester, isolated, no_seccomp, mode):
    """Never weaker in silence: an error with what to install; ``on_missing`` decides otherwise, and
    then the run says so.
    """
    pytester.makepyfile(STRICT + f"@isolate(on_missing={mode!r})\ndef test_it(): pass\n")
    result = isolated("-rs")
    result.assert_outcomes(
        **{"error": {"errors": 1}, "skip": {"skipped": 1}, "warn": {"passed": 1, "warnings": 1}}[
            mode
        ]
    )
    result.stdout.fnmatch_lines(
        [
            (
                "*cannot give profile=strict (*Unable to find libseccomp*pip install"
                " pyseccomp, *libseccomp2*"
            )
        ]
    )


def test_the_doctor_has_a_note_where_strict_is_missing(isolated, no_seccomp):
    """It is an extra: without it the machine still has all that tests usually ask for."""
    result = isolated("--isolate-doctor")
    result.stdout.fnmatch_lines(
        [
            (
                "NOTE  strict: its seccomp filter cannot be made: RuntimeError: Unable to find"
                " libseccomp"
            ),
            "      fix: python -m pip install *",
        ]
    )
    assert result.ret == any(line.startswith("FAIL") for line in result.outlines)


def test_a_project_cannot_redefine_strict(pytester, outcomes):
    """A profile of that name in pyproject.toml would quietly be something weaker."""
    (pytester.path / "pyproject.toml").write_text(
        "[tool.pytest_isolate.profiles.strict]\nmemory = '64M'\n"
    )
    pytester.makepyfile(STRICT + "def test_it(): pass\n")
    ((_, message),) = outcomes()
    assert (
        "that profile is built in and cannot be redefined; give the one in"
        " [tool.pytest_isolate.profiles]" in message
    )


def test_strict_changes_no_keyword(pytester):
    """It closes walls; what a test asks for besides, such as ``net=False``, is the asker's."""
    from pytest_isolate._config.spec import Defaults

    specs = [
        Defaults(pytester.parseconfig("-p", "isolate", *options)).spec([])
        for options in ((), ("--isolate-profile=strict",))
    ]
    assert [name for name in KEYWORDS if getattr(specs[0], name) != getattr(specs[1], name)] == [
        "profile"
    ]
    assert [spec.strict for spec in specs] == [False, True]


@pytest.mark.needs("strict")
@pytest.mark.parametrize(("profile", "reached"), [("None", True), ("'strict'", False)])
def test_a_bound_path_that_a_test_turned_into_a_link(pytester, outcomes, canary, profile, reached):
    """What is bound inside something else that is bound can be redirected by whoever may write
    there; strict does not follow.
    """
    shared = pytester.mkdir("shared")
    (shared / "inner").mkdir()
    pytester.makepyfile(f"""
        import os
        from pathlib import Path
        from pytest_isolate import isolate
        @isolate(profile={profile}, bind=[{str(shared)!r}])
        def test_first():
            os.rmdir({str(shared / "inner")!r})
            os.symlink({str(canary)!r}, {str(shared / "inner")!r})
        @isolate(profile={profile}, bind=[{str(shared / "inner")!r}])
        def test_second():
            Path({str(canary / "file")!r}).write_text("reached")
    """)
    results = dict(each if len(each) == 2 else (*each, "") for each in outcomes())
    assert ((canary / "file").read_text() == "reached") is reached
    assert (
        "symbolic link, which profile='strict' does not follow" in results["test_second"]
    ) is not reached


@pytest.mark.needs("strict")
def test_a_report_names_the_walls_that_were_closed(pytester, isolated):
    """The second one only where this kernel has it."""
    pytester.makepyfile(test_it="def test_it(): pass")
    isolated(
        "--isolate-all", "--isolate-profile=strict", "--isolate-report=report.json"
    ).assert_outcomes(passed=1)
    (test,) = json.loads((pytester.path / "report.json").read_text())["tests"]
    second = [] if strictness.landlock_obstacle() else ["landlock"]
    assert test["walls"] == ["process", "namespaces", "net", "overlay", "strict", *second]


@pytest.mark.needs("strict")
def test_ordinary_sockets_are_had(pytester, outcomes):
    """Those of protocols that are modules are none of a strict test's business, nor two of a
    forbidden family by socketpair(2), which makes them before it sees that they are no pair.
    """
    pytester.makepyfile(
        STRICT
        + """
import ctypes, errno, socket
import pytest
def test_it():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        pass
    for family in (socket.AF_INET, socket.AF_INET6):
        for protocol in (0, socket.IPPROTO_UDP):
            socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, protocol).close()
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
        for each in socket.socketpair(socket.AF_UNIX, kind):
            each.close()
    assert socket.if_nameindex() == [(1, "lo")]
    for words, error in (
        ((socket.AF_INET, socket.SOCK_SEQPACKET, 0), errno.EPROTONOSUPPORT),
        ((socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_USERSOCK), errno.EPROTONOSUPPORT),
    ):
        with pytest.raises(OSError) as refused:
            socket.socket(*words)
        assert refused.value.errno == error
    for family in (socket.AF_INET, socket.AF_NETLINK, 30):  # 30: TIPC
        with pytest.raises(PermissionError):
            socket.socketpair(family, socket.SOCK_STREAM)
"""
    )
    assert outcomes() == [("test_it",)]
