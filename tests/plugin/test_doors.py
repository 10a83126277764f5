"""What leads from a test to programs of the machine, and to pytest itself, in whole runs."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest
from running import PYTEST

from pytest_isolate._linux import privileges
from pytest_isolate._sandbox.confine import LANDLOCK_NEEDED

pytestmark = pytest.mark.kernel

CONNECTING = """
import socket
import pytest
from pytest_isolate import isolate

def reached():
    found = []
    for name in ("socket", "mounted", "read_only/socket"):
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(f"{DIRECTORY}/{name}")
            except ConnectionRefusedError:
                continue
            found.append(name)
    return found

@isolate
def test_default(): assert reached() == ["read_only/socket"]
@isolate(fs="readonly")
def test_default_read_only(): assert reached() == ["socket", "mounted", "read_only/socket"]
@isolate(profile="strict")
def test_strict(): assert reached() == []
@isolate(profile="strict", fs="readonly")
def test_strict_read_only(): assert reached() == []
@isolate(profile="strict")
@pytest.mark.parametrize("name", ["new", "read_only/new"])
def test_writing(name):
    with open(f"{DIRECTORY}/{name}", "w") if name == "new" else pytest.raises(OSError, match="Read-only file system"):
        open(f"{DIRECTORY}/{name}", "w")
"""
MOUNTING = """
mount --bind $0/socket $0/mounted && mount --bind $0/shown $0/read_only && mount -o remount,ro,bind $0/read_only &&
mount -t tmpfs none $0/below && exec "$@"
"""


@pytest.fixture
def directory():
    """Not below /tmp, which ``fs="readonly"`` makes private without what is mounted in it."""
    with tempfile.TemporaryDirectory(prefix="pytest-isolate-", dir="/var/tmp") as name:
        yield Path(name)


@pytest.mark.needs("strict")
@pytest.mark.parametrize("rootless", [False, True])
def test_sockets_of_the_machine(pytester, directory, rootless):
    """Reached where a path is shown as it is: by default what is mounted read-only, and
    ``fs="readonly"``. Docker's socket never is.
    """
    if not rootless and os.geteuid() != 0:
        pytest.skip("for the run as root")
    for name in ("shown", "read_only", "below"):
        (directory / name).mkdir()
    (directory / "mounted").touch()
    pytester.makepyfile(f"DIRECTORY = {str(directory)!r}\n{CONNECTING}")
    unshare = ["unshare", "--mount", *(["--user", "--map-root-user"] if rootless else [])]
    with socket.socket(socket.AF_UNIX) as one, socket.socket(socket.AF_UNIX) as other:
        for each, path in ((one, "socket"), (other, "shown/socket")):
            each.bind(str(directory / path))
            each.listen()
        done = subprocess.run(
            [*unshare, "sh", "-c", MOUNTING, str(directory), *PYTEST],
            cwd=pytester.path, stdout=subprocess.PIPE, text=True, check=False, timeout=120,
        )  # fmt: skip
    assert done.stdout.splitlines()[-1].strip("= ").startswith("6 passed"), done.stdout


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_pytests_streams_stay_blocking(pytester, isolated, jobs):
    """A test shares pytest's own output, kept for capturing: with O_NONBLOCK on it pytest's next
    write could fail, and end the run.
    """
    pytester.makeconftest("""
        import os, pytest
        def pytest_runtest_logreport(report):
            if report.when == "teardown":
                assert os.get_blocking(saved(1)) and not os.get_blocking(saved(2))
        @pytest.hookimpl(trylast=True)
        def pytest_configure(config):
            global saved
            saved = {1: config.pluginmanager.getplugin("capturemanager")._global_capturing.out.targetfd_save,
                     2: config.pluginmanager.getplugin("capturemanager")._global_capturing.err.targetfd_save}.get
            os.set_blocking(saved(2), False)  # as it was before any test
    """)
    pytester.makepyfile("""
        import os, conftest
        def test_one(): [os.set_blocking(conftest.saved(stream), stream == 2) for stream in (1, 2)]
        def test_two(): test_one()
        def test_three(): test_one()
    """)
    isolated("--isolate-all", f"--isolate-jobs={jobs}").assert_outcomes(passed=3)


@pytest.mark.needs("memory", "strict")
@pytest.mark.parametrize("profile", [None, "strict"])
def test_the_oom_killer_of_its_own_group(pytester, isolated, host, profile):
    """The file that tells in which phase memory ran out lies in a hierarchy of the machine: on
    cgroup v1 it can be opened anew to write.
    """
    if host.places["memory"].version == 2:
        pytest.skip("on cgroup v2 that file cannot be written by anybody")
    walled = profile == "strict" and privileges.landlock_version() >= LANDLOCK_NEEDED
    pytester.makepyfile(f"""
        import os
        from pytest_isolate import isolate
        @isolate(memory="64M", profile={profile!r})
        def test_it():
            (fd,) = [fd for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{{fd}}") and
                     os.readlink(f"/proc/self/fd/{{fd}}").endswith("memory.oom_control")]
            try:
                with open(f"/proc/self/fd/{{fd}}", "w") as file:
                    file.write("1")
            except PermissionError:
                assert {walled}
            else:
                assert not {walled}
                assert "oom_kill_disable 1" in open(f"/proc/self/fd/{{fd}}").read()
    """)
    isolated().assert_outcomes(passed=1)
