"""``pytest-isolate COMMAND``: one module for each command, which adds its arguments and runs.

Exit status 2 for arguments and files that cannot be read; what else one means, its module says.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from pytest_isolate._cli import enter, layers
from pytest_isolate._report import compare


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the console script. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="pytest-isolate", description="Tools of pytest-isolate-ns."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    # A further command is a module with these two functions
    for module in (compare, enter, layers):
        module.add_command(commands)
    typed = list(sys.argv[1:] if arguments is None else arguments)
    line: list[str] = []  # a command of the user's own
    if typed[:1] == ["enter"] and "--" in typed:
        at = typed.index("--")
        typed, line = typed[:at], typed[at + 1 :]
    options = parser.parse_args(typed, argparse.Namespace(line=line))
    status: int = options.run(options)
    return status
