"""The plugins that ours is compared with, each in a virtual environment of its own beside this
file, made when it is first asked for.

pytest-forked fails every test under pytest 9.2, and nobody should have to install our peers to use
us.
"""

from __future__ import annotations

import functools
import subprocess
import sys
import venv
from pathlib import Path

_ENVIRONMENTS = Path(__file__).parents[1] / ".environments"
PACKAGES = {
    "pytest-forked": ("pytest<9.2", "pytest-forked"),
    "pytest-xdist": ("pytest", "pytest-xdist"),
    "pytest-zygote": ("pytest", "pytest-zygote"),
    "testisolation": ("pytest", "testisolation"),
}


@functools.cache
def python(peer: str | None) -> str:
    """The interpreter of a peer's environment, or this one."""
    if peer is None:
        return sys.executable
    directory = _ENVIRONMENTS / f"{peer}-{sys.version_info[0]}.{sys.version_info[1]}"
    found = directory / "bin" / "python"
    if not (directory / "complete").exists():
        venv.create(directory, with_pip=True, clear=True)
        subprocess.run(
            [
                found,
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                *PACKAGES[peer],
            ],
            check=True,
        )
        (directory / "complete").touch()
    return str(found)


@functools.cache
def version(peer: str, package: str) -> str:
    """The version of a package in a peer's environment."""
    code = f"import importlib.metadata; print(importlib.metadata.version({package!r}))"
    return subprocess.run(
        [python(peer), "-c", code], check=True, stdout=subprocess.PIPE, text=True
    ).stdout.strip()
