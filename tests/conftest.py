"""What all tests share: the kernel is the judge, and what it cannot do here is skipped, or failed
where CI says so.
"""

from __future__ import annotations

import functools
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from pytest_isolate._linux import host as host_module
from pytest_isolate._linux.mounts import MountTable
from pytest_isolate._network import needs, way_out
from pytest_isolate._plan import strictness

pytest_plugins = ["pytester"]

#: Set by CI: a capability that this machine lacks fails the test that needs it instead of skipping
#: it. ``1`` for all, or the capabilities by name, for a caller (an ordinary user on cgroup v1) of
#: whom less can be expected.
MUST_WORK = os.environ.get("PYTEST_ISOLATE_MUST_WORK", "")

# A shell's "&" and nohup do that, and programs under test would inherit it
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A shared, noisy machine, and perhaps no folder to write to
settings.register_profile("here", database=None, deadline=None)
settings.load_profile("here")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """Three workers for two processors: a quarter of the time all tests wait for what they have
    started.
    """
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    return max(1, len(os.sched_getaffinity(0)) * 3 // 2)


@pytest.fixture(scope="session", autouse=True)
def _no_plugins_that_nobody_asked_for() -> Iterator[None]:
    """Hundreds of runs of pytest are started here, and to import Hypothesis takes each of them
    longer than all the rest.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        yield


@pytest.fixture(scope="session")
def host() -> host_module.Host:
    table = MountTable()
    found = host_module.look(table.visible())
    table.close()
    return found


@pytest.fixture(autouse=True)
def _capabilities(request: pytest.FixtureRequest, host: host_module.Host) -> None:
    marker = request.node.get_closest_marker("needs")
    for name in marker.args if marker else ():
        if name in {"root", "user"}:  # not a lack of the machine: the other run of the suite has it
            if (os.geteuid() == 0) != (name == "root"):
                pytest.skip(f"for the run as {name}")
        elif name == "own_clock":  # nobody sets the clock of a machine that others use
            if "User Mode Linux" not in Path("/proc/cpuinfo").read_text():
                pytest.skip("for the run in the virtual machine")
        elif name == "user_xattr":
            if os.geteuid() != 0 and not _tmpfs_has_user_xattrs():
                pytest.skip(
                    "the tmpfs of this kernel has no user xattrs (Linux 6.6): a rootless overlay"
                    " cannot replace directories"
                )
        elif (reason := _obstacle(name, host)) is not None:
            message = f"this machine has no {name}: {reason}"
            if (MUST_WORK == "1" and name not in _OF_THE_VM) or name in MUST_WORK.split(","):
                pytest.fail(message)
            pytest.skip(message)


# Few kernels of CI machines have it; the run in the virtual machine has it, and fails without it
_OF_THE_VM = {"netem"}
# Of Debian, by program
_PACKAGES = {
    "crun": "crun",
    "eu-stack": "elfutils",
    "runc": "runc",
    "strace": "strace",
    "tshark": "tshark",
    "skopeo": "skopeo",
    "umoci": "umoci",
}


def _obstacle(name: str, host: host_module.Host) -> str | None:  # noqa: PLR0911 - a case after the other
    """Why this machine lacks a capability; None when it has it."""
    if name == "strict":
        return strictness.obstacle()
    if name == "landlock":
        return strictness.landlock_obstacle()
    if name == "busybox":
        from rooting import obstacle

        return obstacle()
    if name == "databases":
        there = (
            shutil.which("redis-server")
            and shutil.which("psql")
            and list(Path("/").glob("usr/lib/postgresql/*/bin/initdb"))
        )
        return None if there else "apt-get install postgresql redis-server"
    if name == "docker":
        from dockerd import obstacle

        return obstacle()
    if name == "internet":
        return None if (lacks := way_out.lacking()) is None else f"{lacks.reason}; {lacks.remedy}"
    if name in _PACKAGES:
        there = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
        return None if there else f"apt-get install {_PACKAGES[name]}"
    if name == "io" and not host.disks:
        return "no block device"
    if name in needs.NEEDS:
        code = _kernel((host.uid, host.gid) if host.rootless else None).errno(name)
        return None if code == 0 else f"{needs.NEEDS[name].reason}: {os.strerror(code)}"
    return host.obstacles.get(name)


@functools.cache
def _kernel(user: tuple[int, int] | None) -> needs.Kernel:
    return needs.Kernel(user)


def _tmpfs_has_user_xattrs() -> bool:
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as file:
        try:
            os.setxattr(file.name, "user.probe", b"1")
        except OSError:
            return False
    return True


@pytest.fixture
def canary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of the machine with a file in it: what a test inside destroys must still be
    there.
    """
    directory = tmp_path_factory.mktemp("canary")
    (directory / "file").write_text("untouched")
    return directory
