"""What a sandbox costs without pytest and without a test: ``python benchmarks/sandboxes.py
[--rounds N] [CHECKOUT ...]``.

Processor time and page faults of the builder and of the PID 1s, for each sandbox with a network,
memory, pids, disk and time, beside a bare fork of a Python of 40 MB that touches nothing. With
other checkouts of this plugin it measures each of them in turn, round by round. As whom it is
started, so are the sandboxes: root's or a user's.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from pytest_isolate._config.keywords import KEYWORDS
from pytest_isolate._config.spec import Spec
from pytest_isolate._linux import host, root
from pytest_isolate._linux.mounts import MountTable
from pytest_isolate._plan import planning
from pytest_isolate._sandbox.builder_client import BuilderClient

_WARM_UP = 30
_TICKS = os.sysconf("SC_CLK_TCK")
_FIELDS = {  # proc_pid_stat(5), counted from the third field
    "builder, page faults": 7, "PID 1s, page faults": 8,
    "builder, user ms": 11, "builder, kernel ms": 12, "PID 1s, user ms": 13,
    "PID 1s, kernel ms": 14,
}  # fmt: skip


def measure(count: int) -> dict[str, float]:
    """In a process of its own: make ``count`` sandboxes, one ahead of its use as pytest does."""
    table = MountTable()
    here = host.look(table.visible())
    builder = BuilderClient(here.places)
    asked = {"memory": 256 << 20, "pids": 64, "disk": 64 << 20, "timeout": 30.0}
    asked = {
        name: value
        for name, value in asked.items()
        if name not in {"memory", "pids"} or name in here.places
    }
    keywords: dict[str, Any] = {name: keyword.default for name, keyword in KEYWORDS.items()}
    spec = Spec(**keywords | asked, origins={})
    plan = planning.plan(spec, here, root.Root(), [tempfile.gettempdir(), "/var/tmp"])
    begin: dict[str, float] = {}
    began = 0.0
    for number in range(count + _WARM_UP):
        if number == _WARM_UP:
            begin, began = _read(builder.pid), time.perf_counter()
        sandbox = builder.take(plan.recipe)
        sandbox.wait_ready()
        builder.order_ahead(plan.recipe)
        sandbox.close()
    wall = time.perf_counter() - began
    end = _read(builder.pid)
    figures = {name: (end[name] - begin[name]) / count for name in end}
    figures["both, ms"] = sum(value for name, value in figures.items() if name.endswith(" ms"))
    figures["wall, ms"] = wall * 1e3 / count
    builder.close()
    table.close()
    return figures


def _read(pid: int) -> dict[str, float]:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return {
        name: int(fields[at]) * (1e3 / _TICKS if name.endswith("ms") else 1)
        for name, at in _FIELDS.items()
    }


def main() -> None:
    """Measure, interleaved, and print medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=300, help="sandboxes a round")
    parser.add_argument(
        "checkouts",
        nargs="*",
        help="directories with other versions of the package; default: what is installed",
    )
    arguments = parser.parse_args()
    if (count := os.environ.get("ISOLATE_BENCH_SANDBOXES")) is not None:
        json.dump(measure(int(count)), sys.stdout)
        return
    found: dict[str, list[dict[str, float]]] = {
        checkout: [] for checkout in arguments.checkouts or [""]
    }
    for _ in range(arguments.rounds):
        for checkout, figures in found.items():
            environment = {**os.environ, "ISOLATE_BENCH_SANDBOXES": str(arguments.count)}
            if checkout:
                environment["PYTHONPATH"] = os.path.abspath(checkout)
            done = subprocess.run(
                [sys.executable, __file__], env=environment, stdout=subprocess.PIPE, check=True
            )
            figures.append(json.loads(done.stdout))
    first, *_ = found
    print(
        f"{arguments.count} sandboxes, {arguments.rounds} rounds; for each sandbox, the median of"
        " the rounds"
    )
    print(" " * 24 + "".join(f"{Path(name).name or 'installed':>16}" for name in found))
    for what in found[first][0]:
        print(
            f"{what:24}"
            + "".join(
                f"{statistics.median(each[what] for each in figures):>16.2f}"
                for figures in found.values()
            )
        )
    ratios = {
        name: [
            one["both, ms"] / other["both, ms"]
            for one, other in zip(found[name], found[first], strict=True)
        ]
        for name in found
    }
    print(
        f"{'both / first, ratio':24}"
        + "".join(f"{statistics.median(each):>16.2f}" for each in ratios.values())
    )


if __name__ == "__main__":
    main()
