"""Run the projects of ``docs/recipes`` and write what a reader would see into each one's
``session.txt``.

A line there that begins with ``$`` is a command; what stands behind it is what it printed.
``python tools/build_recipes.py [NAME ...]`` runs the commands again and rewrites the file; with
``--check`` it only compares, but for figures that differ from run to run, and exits 1.
"""

from __future__ import annotations

import difflib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
RECIPES = PROJECT / "docs" / "recipes"
#: What a recipe's reader would have installed besides: no other plugin has a say in its run.
PLUGINS = {"asyncio": "asyncio", "django": "django", "snapshots": "syrupy"}
#: Lines of stacks, which are those of Python's own modules and of other plugins.
_STACKS = re.compile(r"  File |Thread |Current thread|  \(|  - |  \w+ - |by .*-stack|asyncio: ")
#: What is another in each run: times, sizes, pids, ports, versions.
_VARIES = (
    (re.compile(r"^/\S*/(?=[\w-]+\.py:\d+: )", re.MULTILINE), ""),
    (re.compile(r"^platform linux .*", re.MULTILINE), "platform linux"),
    (re.compile(r"^(isolate: \d+ of \d+ tests;) .*", re.MULTILINE), r"\1"),
    (re.compile(r"^plugins: .*", re.MULTILINE), "plugins:"),
    (re.compile(r"pytest-of-\w+/pytest-\d+"), "pytest-of-you/pytest-N"),
    (re.compile(r"\b\w+ \(pid"), "X (pid"),
    (re.compile(r"\b\d+(\.\d+)? (ms|s|KiB|MiB|B)\b"), "N"),
    (re.compile(r"\b\d+(\.\d+)?s\b"), "N"),
    (re.compile(r"0x[0-9a-f]+"), "0xN"),
    (re.compile(r"\(pid \d+"), "(pid N"),
    (re.compile(r"127\.0\.0\.1:\d+"), "127.0.0.1:N"),
    (re.compile(r"\b\d+ (more than|more|blocks)\b"), r"N \1"),
    (re.compile(r"=+"), "="),
    (re.compile(r"-{3,}"), "-"),
)


def main(arguments: list[str]) -> int:
    """Write or check the sessions of all recipes, or of those named."""
    names = [each for each in arguments if each != "--check"]
    stale = False
    for path in sorted(RECIPES.glob("*/session.txt")):
        if names and path.parent.name not in names:
            continue
        before = path.read_text(encoding="utf-8")
        now = _session(path.parent, before)
        if "--check" not in arguments:
            path.write_text(now, encoding="utf-8")
        elif _steady(before) != _steady(now):
            stale = True
            print(f"{path} is stale: run python tools/build_recipes.py {path.parent.name}")
            print(*difflib.unified_diff(_steady(before), _steady(now), lineterm=""), sep="\n")
    return int(stale)


def _session(recipe: Path, before: str) -> str:
    commands = [line[2:] for line in before.splitlines() if line.startswith("$ ")]
    with tempfile.TemporaryDirectory() as directory:
        there = Path(directory) / recipe.name
        shutil.copytree(recipe, there, ignore=shutil.ignore_patterns("session.txt", "__pycache__"))
        home = Path(directory) / "home"
        home.mkdir()
        plugins = " ".join(f"-p {each}" for each in ("isolate", PLUGINS.get(recipe.name)) if each)
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PYTEST", "COV", "GITHUB", "CI", "TOX", "PYTHON"))
        } | {
            "COLUMNS": "88",
            "HOME": str(home),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTEST_ADDOPTS": f"{plugins} -p no:cacheprovider",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        parts = []
        for command in commands:
            done = subprocess.run(
                command,
                shell=True,
                cwd=there,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            parts.append(f"$ {command}\n{done.stdout}")
        shown = "".join(parts).replace(str(there), f"/home/you/{recipe.name}")
        shown = shown.replace(str(home), "/home/you")
        shown = shown.replace(sys.prefix, "/home/you/.venv").replace(str(PROJECT), "/home/you")
    return re.sub(r"[ \t]+$", "", shown, flags=re.MULTILINE)


def _steady(text: str) -> list[str]:
    for pattern, word in _VARIES:
        text = pattern.sub(word, text)
    return [line for line in text.splitlines() if not _STACKS.match(line)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
