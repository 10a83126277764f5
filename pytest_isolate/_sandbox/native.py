"""Native stacks of a process that is late: where in C it stands, which Python's own stacks cannot
tell.

Read from outside by a tool that the machine has: ``eu-stack`` of elfutils (0.05 s), else ``gdb``.
Either stops the threads by ptrace(2), so that nothing of the process has to run. What is below
Python's interpreter loop is left out: the Python stacks have it.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator

_LONGEST = 3.0  # seconds; debug information of large libraries takes gdb long
_MOST_THREADS = 20
_MOST_FRAMES = 30
_TOOLS = {
    "eu-stack": ["-m", "-p"],
    "gdb": [
        "-batch",
        "-nx",
        "-iex",
        "set auto-load off",
        "-ex",
        "thread apply all backtrace 100",
        "-p",
    ],
}
_THREAD = re.compile(r"TID (\d+):|Thread \d+ \(.*?\(?LWP (\d+)\)?.*")
_FRAME = re.compile(r"#\d+\s+(?:0x[0-9a-f]+\s+)?(?:in\s+)?(.*)")
_ARGUMENTS = re.compile(r" \(.*\)(?= at | from |$)")
_IN_PYTHON = "  (Python)"
_INTERPRETER = ("_PyEval_EvalFrame", "_PyEval_Vector", "PyEval_EvalCode")


def stacks(pid: int) -> str:
    """Read the stacks of a process's threads, a paragraph each, or a line that says why there are
    none.
    """
    tool, program = next(
        ((name, found) for name in _TOOLS if (found := shutil.which(name))), ("", "")
    )
    if not program:
        return "none: eu-stack shows where in C a test stands (apt-get install elfutils), or gdb"
    try:
        done = subprocess.run(
            [program, *_TOOLS[tool], str(pid)], stdin=subprocess.DEVNULL, capture_output=True,
            text=True, errors="replace", check=False,
            timeout=_LONGEST, cwd="/", env={"LC_ALL": "C"},  # no DEBUGINFOD_URLS: no network
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"none: {tool}: {error}"
    if done.stdout and (shown := telling(done.stdout)) is not None:
        return f"by {tool}, down to Python's interpreter:\n{shown}" if shown else ""
    said = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
    return f"none: {said if said.startswith(tool) else f'{tool}: {said}'}"


def telling(text: str) -> str | None:
    """Make the tool's output readable; nothing where all threads stand in Python, whose own stacks
    say where, and None where there are no threads.
    """
    lines = list(readable(text))
    if not lines:
        return None
    is_more = any(line.startswith("  ") and line != _IN_PYTHON for line in lines)
    return "\n".join(lines) if is_more else ""


def readable(text: str) -> Iterator[str]:
    """Split the tool's output into lines, each thread cut where the interpreter begins."""
    threads = frames = 0
    for line in text.splitlines():
        if (head := _THREAD.match(line)) is not None:
            threads, frames = threads + 1, 0
            if threads <= _MOST_THREADS:
                yield f"Thread {head[1] or head[2]}:"
        elif (
            (frame := _FRAME.match(line)) is not None
            and 0 < threads <= _MOST_THREADS
            and frames < _MOST_FRAMES
        ):
            name = "".join(
                each if each.isprintable() else "?" for each in _ARGUMENTS.sub("", frame[1])
            )
            frames = _MOST_FRAMES if name.startswith(_INTERPRETER) else frames + 1
            yield f"  {name}" if frames < _MOST_FRAMES else _IN_PYTHON
    if threads > _MOST_THREADS:
        yield f"and {threads - _MOST_THREADS} more threads"
