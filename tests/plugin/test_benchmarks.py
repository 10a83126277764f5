"""The plugins of benchmarks/ see what they are to see: they know names of ours that nobody else
keeps for them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

_BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
_TESTS = 30


def run(directory: Path, plugins: list[str], variables: dict[str, str]) -> None:
    """Run empty isolated tests with plugins of theirs."""
    (directory / "test_empty.py").write_text(
        "".join(f"def test_{number}(): pass\n" for number in range(_TESTS))
    )
    arguments = [argument for plugin in plugins for argument in ("-p", f"plugins.{plugin}")]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "isolate",
        "--isolate-all",
        *arguments,
    ]
    path = os.pathsep.join(filter(None, [str(_BENCHMARKS), os.environ.get("PYTHONPATH")]))
    environment = (
        os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": path} | variables
    )
    done = subprocess.run(
        command, env=environment, cwd=directory, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{_TESTS} of {_TESTS} tests isolated" in done.stdout


def test_each_test_is_stamped_once(tmp_path):
    """And the end of the loop."""
    run(
        tmp_path,
        ["measure", "resident"],
        {"ISOLATE_BENCH_STAMPS": str(tmp_path / "stamps"), "ISOLATE_BENCH_RESIDENT": "40"},
    )
    stamps = json.loads((tmp_path / "stamps").read_text())["stamps"]
    assert len(stamps) == _TESTS + 1
    assert stamps == sorted(stamps)


def test_the_accounts_have_every_process(tmp_path):
    """Also the nursery, and the tests that it reaps."""
    run(tmp_path, ["accounts"], {"ISOLATE_BENCH_ACCOUNTS": str(tmp_path / "account")})
    account = json.loads((tmp_path / "account").read_text())
    assert account["tests, page faults"] > 100
    assert account["nursery, page faults"] > 10


def test_what_only_measures_can_be_left_out(tmp_path):
    """Every name that is taken out is there, and without it all tests pass."""
    run(tmp_path, ["unmeasured"], {})
