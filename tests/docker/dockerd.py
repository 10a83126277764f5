"""A Docker daemon that leaves nothing, and an image with the plugin in it.

The daemon lives in mount and pid namespaces of its own: when its first process dies, everything of
it does, and with the namespace go containers' mounts, the image and the daemon's data, which lie on
a tmpfs in there. What the kernel does not take away are empty control groups, which ``stop``
removes.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

import pytest_isolate
from pytest_isolate._linux.mounts import MountTable

PROJECT = Path(__file__).resolve().parents[2]
IMAGE = "isolate-test"
SUITE = "bookworm"
SECONDS = 400  # for Debian's packages, on a slow line
#: Program -> Debian's package.
PROGRAMS = {
    "dockerd": "docker.io",
    "docker": "docker.io",
    "debootstrap": "debootstrap",
    "unshare": "util-linux",
    "setpriv": "util-linux",
}
#: In the new namespaces: a Debian with Python on a tmpfs, then the daemon in the place of this
#: shell, its own sockets out of sight.
BEGIN = """
set -e
work=$1 group=$2 suite=$3
mount -t tmpfs -o mode=755 none "$work/private"
debootstrap --variant=minbase --include=python3 "$suite" "$work/private/root" >&2
mount -t tmpfs -o mode=755 none /run
exec dockerd --iptables=false --bridge=none --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent "/$group" \
  --data-root "$work/private/data" --exec-root "$work/private/exec" --pidfile "$work/private/pid" --host "unix://$work/socket"
"""


class DockerError(Exception):
    """The daemon or its image could not be made."""


def obstacle() -> str | None:
    """Why there can be no daemon of ours here; None when there can."""
    if os.geteuid() != 0:
        return "only root can start one"
    missing = sorted(
        {package for program, package in PROGRAMS.items() if shutil.which(program) is None}
    )
    return f"apt-get install {' '.join(missing)}" if missing else None


class Docker:
    """One daemon."""

    def __init__(self) -> None:
        # short, for the path of a socket, and readable for whoever runs in a container
        self._work = Path(tempfile.mkdtemp(prefix="isolate-docker-", dir="/var/tmp"))
        self._work.chmod(0o755)
        self._daemon: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Make everything; ``stop`` has to follow, whatever comes of it."""
        (self._work / "private").mkdir()
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify,
            (self._work / "log").open("wb") as log,
        ):
            notify.bind(str(self._work / "notify"))
            namespaces = [
                "unshare",
                "--mount",
                "--propagation",
                "private",
                "--pid",
                "--fork",
                "--kill-child",
                "--mount-proc",
            ]
            script = ["sh", "-c", BEGIN, "sh", str(self._work), self._work.name, SUITE]
            self._daemon = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *namespaces, *script],
                env={
                    **os.environ,
                    "NOTIFY_SOCKET": str(self._work / "notify"),
                    "DEBIAN_FRONTEND": "noninteractive",
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
            _wait_ready(notify, self._daemon, self._work / "log")
        self._fill()

    def _first(self) -> int | None:
        """PID 1 of the namespaces, by its number here."""
        assert self._daemon is not None
        try:
            children = (
                Path(f"/proc/{self._daemon.pid}/task/{self._daemon.pid}/children")
                .read_text("ascii")
                .split()
            )
        except OSError:  # unshare has ended, and so has PID 1
            return None
        return int(children[0]) if children else None

    @property
    def _private(self) -> Path:
        """Where the tmpfs is for those who are not in the namespaces."""
        return Path(f"/proc/{self._first()}/root{self._work}/private")

    def _fill(self) -> None:
        """The plugin as it is installed here, what it needs, and the example project; then the
        image.
        """
        root = self._private / "root"
        version = subprocess.run(
            ["chroot", str(root), "python3", "-c",
             "import sys; print('%d.%d' % sys.version_info[:2])"],
            capture_output=True, text=True, check=True,
        ).stdout.strip()  # fmt: skip
        packages = root / f"usr/local/lib/python{version}/dist-packages"
        ours = metadata.distribution("pytest-isolate-ns")
        needs = [each for each in ours.requires or [] if "extra" not in each]
        pip = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--root-user-action=ignore",
        ]
        subprocess.run(
            [
                *pip,
                "--target",
                str(packages),
                "--python-version",
                version,
                "--only-binary=:all:",
                *needs,
                "pyseccomp",
            ],
            check=True,
        )
        ignored = shutil.ignore_patterns("__pycache__", ".*")
        shutil.copytree(
            Path(pytest_isolate.__file__).parent, packages / "pytest_isolate", ignore=ignored
        )
        about = packages / f"pytest_isolate_ns-{ours.version}.dist-info"
        about.mkdir()
        for name in ("METADATA", "entry_points.txt"):
            (about / name).write_text(ours.read_text(name) or "", "utf-8")
        shutil.copytree(PROJECT / "example_project", root / "example", ignore=ignored)
        for superfluous in (
            "var/cache/apt",
            "var/lib/apt/lists",
            "usr/share/doc",
            "usr/share/locale",
        ):
            shutil.rmtree(root / superfluous, ignore_errors=True)
        with subprocess.Popen(["tar", "-C", str(root), "-c", "."], stdout=subprocess.PIPE) as tar:
            self._docker("import", "-", IMAGE, stdin=tar.stdout)
        shutil.rmtree(root)

    def _docker(self, *args: str, **how: object) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "DOCKER_HOST": f"unix://{self._work}/socket"}
        result = subprocess.run(
            ["docker", *args],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            **how,
        )  # type: ignore[call-overload]
        if result.returncode >= 125:  # Docker's own, not the command's
            raise DockerError(f"docker {' '.join(args)}: {result.stderr.strip()}")
        return result  # type: ignore[no-any-return]

    def run(self, options: list[str], command: list[str]) -> str:
        """Run a command in a container in the example project.

        Returns its output, whatever its status.
        """
        result = self._docker(
            "run",
            "--rm",
            "--network=none",
            "--workdir=/example",
            "--env=PYTHONDONTWRITEBYTECODE=1",
            *options,
            IMAGE,
            *command,
        )
        return result.stdout + result.stderr

    def save(self, path: Path) -> None:
        """Write the image to an archive."""
        self._docker("save", "--output", str(path), IMAGE)

    def volume(self, name: str, owner: int) -> str:
        """Make a directory that a container can have as a volume.

        Returns its path for the daemon.
        """
        directory = self._private / name
        directory.mkdir()
        os.chown(directory, owner, owner)
        (directory / "file").write_text("of the volume\n")
        os.chown(directory / "file", owner, owner)
        return f"{self._work}/private/{name}"

    def stop(self) -> None:
        """Kill everything, wait until it is gone, and remove what the kernel leaves."""
        if self._daemon is not None:
            if (first := self._first()) is not None:
                # It ends when everybody in its namespace has ended, and unshare then
                os.kill(first, signal.SIGKILL)
            elif self._daemon.poll() is None:
                self._daemon.kill()
            self._daemon.wait()
        table = MountTable()
        for mount in [each for each in table.visible() if each.fstype in {"cgroup", "cgroup2"}]:
            for directory, _, _ in os.walk(Path(mount.path) / self._work.name, topdown=False):
                os.rmdir(directory)
        table.close()
        shutil.rmtree(self._work)


def _wait_ready(notify: socket.socket, daemon: subprocess.Popen[bytes], log: Path) -> None:
    """Until the daemon says so, as it would to systemd, or ends."""
    ended = os.pidfd_open(daemon.pid)
    try:
        ready, _, _ = select.select([notify, ended], [], [], SECONDS)
    finally:
        os.close(ended)
    if notify not in ready:
        last = log.read_text(errors="replace").splitlines()[-10:]
        raise DockerError(
            "\n".join(
                ["the daemon did not begin" if ready else f"no daemon within {SECONDS} s", *last]
            )
        )
