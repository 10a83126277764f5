"""In a real container: the doctor's list, what its remedies give when they are typed, and the
example project.

``environments.py`` of tests/kernel imitates Docker, here it is Docker. Containers have no network;
control groups are read-only in all of them but privileged ones.
"""

from __future__ import annotations

import re
import shlex
import shutil
import sys

import pytest
from dockerd import Docker, DockerError

pytestmark = [pytest.mark.docker, pytest.mark.needs("docker")]

BUILDING = {"namespaces", "net", "readonly", "overlay", "disk", "strict"}
LIMITS = {"memory", "pids", "cpu"}
ROOT = (
    "--cap-add SYS_ADMIN --cap-add NET_ADMIN --security-opt seccomp=unconfined --security-opt"
    " apparmor=unconfined"
)
USER = (
    "--security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt"
    " systempaths=unconfined"
)
#: Tests of the example that ask for memory or pids, and say on_missing="skip".
ASK_FOR_LIMITS = {
    "tests/test_report.py::test_reads_a_log_that_does_not_fit_into_memory",
    "tests/test_report.py::test_reads_several_logs_at_once",
    "tests/test_workers.py::test_is_done_with_its_workers_when_it_returns",
    "tests/test_workers.py::test_runs_no_more_processes_than_it_was_told",
}
NEEDS_NETEM = "tests/test_several_servers.py::test_is_slow_where_the_network_is"
PYTEST = ["python3", "-m", "pytest", "-p", "isolate", "-p", "no:cacheprovider"]
_FOUND = re.compile(r"^(PASS|FAIL|NOTE)  (\w+)(?:: .*)?$(?:\n      fix: (.*))?", re.MULTILINE)
_RAN = re.compile(r"^(tests/\S+) (PASSED|FAILED|ERROR|SKIPPED)", re.MULTILINE)
_OPTIONS = re.compile(r"docker run ([^,;]*)")


def doctor(daemon: Docker, options: str) -> tuple[dict[str, str], str]:
    """What is missing, with the fix, and all that was said.

    Landlock is the kernel's, so it is left out.
    """
    said = daemon.run(shlex.split(options), [*PYTEST, "--isolate-doctor"])
    found = {
        name: (word, fix)
        for word, name, fix in _FOUND.findall(said)
        if name
        not in {"landlock", "process", "hosts", "netem", "internet", "layers", "cpu_time", "io"}
    }
    assert found.keys() == BUILDING | LIMITS, said
    return {name: fix for name, (word, fix) in found.items() if word != "PASS"}, said


def example(daemon: Docker, options: str) -> None:
    """Run the example project: what asks for limits is skipped, and everything else passes."""
    said = daemon.run(shlex.split(options), [*PYTEST, "-v", "-rs"])
    ran = _RAN.findall(said)
    assert len({name for name, _ in ran}) > 30, said
    # The kernel's, as Landlock
    other = {(name, outcome) for name, outcome in ran if outcome != "PASSED"} - {
        (NEEDS_NETEM, "SKIPPED")
    }
    assert other == {(name, "SKIPPED") for name in ASK_FOR_LIMITS}, said


def test_as_root_with_what_the_doctor_names(daemon):
    """Everything but limits is there, and the example project runs."""
    missing, said = doctor(daemon, ROOT)
    assert missing.keys() == LIMITS, said
    assert "; 3 of the 8 that most tests need are not" in said
    example(daemon, ROOT)


def test_as_a_user_with_a_volume_below_tmp_and_a_file_below_etc(daemon):
    """Mounts below the directories where tests write and read: the sandbox shows those directories
    as they are.
    """
    volume = daemon.volume("of-the-user", owner=1000)
    options = (
        f"{USER} --user 1000:1000 --volume {volume}:/tmp/volume --volume"
        f" {volume}/file:/etc/pantry.conf"
    )
    missing, said = doctor(daemon, options)
    assert missing.keys() == LIMITS, said
    assert "; 3 of the 8 that most tests need are not" in said
    example(daemon, options)


@pytest.mark.parametrize(
    "given",
    [
        "",
        "--user 1000:1000",
        "--cap-add SYS_ADMIN",
        "--security-opt seccomp=unconfined",
        "--user 1000:1000 --security-opt seccomp=unconfined",
        "--user 1000:1000 --read-only --tmpfs /tmp",
    ],
)
def test_a_container_with_the_options_of_the_remedy_has_what_was_missing(daemon, given):
    """Typed as the doctor writes it, behind what was there: everything that it was said to help
    against.
    """
    missing, said = doctor(daemon, given)
    assert missing.keys() == BUILDING | LIMITS, said
    (options,) = {
        match[1] for name in BUILDING if (match := _OPTIONS.search(missing[name])) is not None
    }
    missing, said = doctor(daemon, f"{given} {options}")
    assert missing.keys() == LIMITS, said


def test_a_privileged_container_has_limits(daemon):
    """The remedy for them, typed."""
    missing, _ = doctor(daemon, ROOT)
    (options,) = {
        match[1] for name in LIMITS if (match := _OPTIONS.search(missing[name])) is not None
    }
    try:
        missing, said = doctor(daemon, options)
    except DockerError as error:
        if "operation not permitted" not in str(error):
            raise
        pytest.skip(
            "this machine's root has not every capability, so that no container of it can be"
            f" privileged: {error}"
        )
    assert missing == {}, said


def test_a_test_that_asks_for_what_is_missing_is_an_error_with_the_remedy(daemon):
    """In the default: each isolated test of the example says what to type, and none of them ran."""
    said = daemon.run([], [*PYTEST, "-v", "--tb=line", "tests/test_destroy.py"])
    outcomes = dict(_RAN.findall(said))
    assert outcomes == {
        "tests/test_destroy.py::test_destroys_its_directory": "ERROR",
        "tests/test_destroy.py::test_starts_anew_where_a_careless_script_was": "ERROR",
        "tests/test_destroy.py::test_finds_all_in_place_afterwards": "PASSED",
    }, said
    assert f"docker run {ROOT}" in said


ON_ITS_IMAGE = """
import os, subprocess, sys, pytest

def run(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout

def test_programs(tmp_path):
    assert "VERSION_CODENAME=bookworm" in run("cat", "/etc/os-release")
    run("useradd", "alice")
    assert run("id", "-un", "alice") == "alice\\n"
    assert "dpkg" in run("dpkg", "--get-selections")

def test_as_if_nothing_had_been():
    assert "alice" not in open("/etc/passwd").read()
    assert os.path.isdir("/example/tests")

def test_both_pythons():
    here = run(sys.executable, "-c", "import pytest, ssl; print(pytest.__file__)")
    assert here.strip() == pytest.__file__
    assert run("/usr/bin/python3", "-c", "import sys; print(sys.version_info.major)") == "3\\n"
"""


def test_its_image_saved_is_a_root_on_the_machine(daemon, pytester, monkeypatch):
    """By `docker save`, as it writes an archive today."""
    daemon.save(pytester.path / "image.tar")
    monkeypatch.setenv("XDG_CACHE_HOME", str(pytester.mkdir("cache")))
    pytester.makepyfile(ON_ITS_IMAGE)
    result = pytester.run(
        sys.executable, *PYTEST[1:], "--isolate-all", "--isolate-rootfs=image.tar", timeout=300
    )
    result.assert_outcomes(passed=3)
    (pytester.path / "image.tar").unlink()
    shutil.rmtree(pytester.path / "cache")
