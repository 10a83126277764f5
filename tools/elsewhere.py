"""Run the tests where this process is not: as an ordinary user, or in a pure cgroup v2 kernel.

``python tools/elsewhere.py user|vm|vm-user -- PYTEST-ARGUMENTS``. Neither such a user nor that
kernel may see this checkout or its Python (a home directory, /tmp), so both get a copy of the
project and a virtual environment in a directory below /var/tmp that everybody may read, removed at
the end.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
NEEDS = ["hypothesis", "jsonschema", "pexpect", "pyseccomp", "pysyncobj"]
#: Of an ordinary user's run, which has all of the machine's processors.
USERS_NEEDS = [
    "bokeh", "jinja2", "pytest-xdist",
    "psycopg[binary]", "SQLAlchemy", "redis", "pytest-httpserver",  # of tests/plugins/test_servers
]  # fmt: skip
USER = 1000
#: What an ordinary user can be expected to have is namespaces and overlays; control groups only
#: where they are delegated.
MUST_WORK = {
    "user": "namespaces,strict,strace,crun,runc",
    "vm": "memory,pids,cpu,netem,crun,runc",
    "vm-user": "memory,pids,cpu,netem",
}


def readable_python() -> str:
    """An interpreter that every user may run: this one, or the system's."""
    candidates = [Path(sys.executable).resolve(), Path("/usr/bin/python3")]
    for python in candidates:
        if python.exists() and all(
            parent.stat().st_mode & 0o005 == 0o005 for parent in python.parents
        ):
            return str(python)
    sys.exit("no Python here can be run by an ordinary user: apt-get install python3 python3-venv")


@contextmanager
def readable_copy(needs: list[str]) -> Iterator[Path]:
    """The project and a virtual environment with it, where everybody may read them."""
    with tempfile.TemporaryDirectory(
        prefix="pytest-isolate-", dir="/var/tmp", ignore_cleanup_errors=True
    ) as name:
        copy = Path(name)
        copy.chmod(0o755)
        ignored = shutil.ignore_patterns(".*", "*.egg-info", "build", "__pycache__")
        shutil.copytree(PROJECT, copy / "project", ignore=ignored)
        subprocess.run([readable_python(), "-m", "venv", str(copy / "venv")], check=True)
        pip = [
            str(copy / "venv/bin/python"),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ]
        subprocess.run([*pip, str(copy / "project"), *needs], check=True)
        shutil.rmtree(copy / "project/build", ignore_errors=True)
        yield copy


def main() -> int:
    """Run pytest there and pass on its exit status."""
    if len(sys.argv) < 4 or sys.argv[1] not in MUST_WORK or sys.argv[2] != "--":
        sys.exit(f"usage: {sys.argv[0]} {'|'.join(MUST_WORK)} -- PYTEST-ARGUMENTS")
    mode, arguments = sys.argv[1], sys.argv[3:]
    if mode == "user" and os.geteuid() != 0:
        print("this is an ordinary user already: the tests have run as one")
        return 0
    with readable_copy(NEEDS + (USERS_NEEDS if mode == "user" else [])) as copy:
        pytest = [
            str(copy / "venv/bin/python"),
            "-B",
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            *arguments,
        ]
        environment = {**os.environ, "PYTEST_ISOLATE_MUST_WORK": MUST_WORK[mode], "HOME": "/tmp"}
        environment.pop("PYTEST_ADDOPTS", None)
        if mode == "user":
            done = subprocess.run(
                pytest, cwd=copy / "project", env=environment, check=False, user=USER, group=USER,
                extra_groups=[],
            )  # fmt: skip
            return done.returncode
        vm = [
            sys.executable,
            str(PROJECT / "tools/vm.py"),
            *(["--user"] if mode == "vm-user" else []),
            "--",
            *pytest,
        ]
        return subprocess.run(vm, cwd=copy / "project", env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
