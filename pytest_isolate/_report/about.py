"""What a page says of the run as a whole: the command, when and for how long, with which Python,
pytest and plugins, and of which commit.
"""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

_LONGEST = 10.0  # seconds that git may take, of a large repository
_FORMAT = "--format=%H%x00%cI%x00%s"
_LONGEST_SUBJECT = 200  # characters


def about(config: pytest.Config, started: float, seconds: float) -> dict[str, Any]:
    """Tell of a run that began so many seconds ago, ``started`` since the epoch."""
    return {
        "command": command(config),
        "directory": str(config.rootpath),
        "started": started,
        "seconds": seconds,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "platform": platform.platform(),
        "pytest": pytest.__version__,
        "plugins": _plugins(config),
        "commit": commit(config.rootpath),
    }


def command(config: pytest.Config) -> str:
    """Write what was typed, as far as a process can know it: what a shell made of it."""
    by_module = os.path.basename(sys.argv[0]) == "__main__.py" if sys.argv else False
    words = ["python", "-m", "pytest"] if by_module else ["pytest"]
    return shlex.join([*words, *map(str, config.invocation_params.args)])


def _plugins(config: pytest.Config) -> list[str]:
    """Name the distributions of plugins, with their versions."""
    found = {
        f"{each.project_name} {each.version}"
        for _, each in config.pluginmanager.list_plugin_distinfo()
    }
    return sorted(found, key=str.lower)


def commit(root: Path) -> dict[str, object] | None:
    """Ask git of which commit the project is, and whether files that it knows were changed since.

    None without git, outside of a repository, and in one that git does not trust.
    """
    said = _git(root, "log", "-1", _FORMAT)
    if said is None or said.count("\0") != 2:
        return None
    name, date, subject = said.rstrip("\n").split("\0")
    changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    return {
        "name": name,
        "date": date,
        "subject": subject[:_LONGEST_SUBJECT],
        "branch": (_git(root, "branch", "--show-current") or "").strip(),
        "changed": bool(changed),
    }


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=root,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=_LONGEST,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None
