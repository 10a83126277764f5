"""What layers cost: a sandbox on them against one on ``/``, and the list of what a test changed.

``python benchmarks/layers.py [--sandboxes 200]`` has sandboxes built one after the other, kinds in
turn, and prints a table in Markdown: the time from order to ready, which pytest waits for only
where the builder has none ready. Then a process writes 10,000 files in a directory of a layer, and
the comparison with what is below them is timed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from pytest_isolate._config.keywords import KEYWORDS
from pytest_isolate._config.spec import Spec
from pytest_isolate._linux import host, syscalls
from pytest_isolate._linux.mounts import MountTable
from pytest_isolate._linux.root import Root
from pytest_isolate._linux.syscalls import Clone, Mount
from pytest_isolate._plan import planning
from pytest_isolate._plan.planning import Plan
from pytest_isolate._sandbox import changes, launch
from pytest_isolate._sandbox.builder_client import BuilderClient
from pytest_isolate._sandbox.entry import Entry, Identity
from pytest_isolate._sandbox.frames import Writer
from pytest_isolate._sandbox.overlays import Overlay
from pytest_isolate._sandbox.pipes import Ends

FILES = 10_000
LEFT_OUT = 10  # sandboxes of each kind


def make(directory: Path, name: str, *paths: str) -> str:
    """Make a layer with small files."""
    for path in paths:
        place = directory / name / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(name)
    return str(directory / name)


def write_many(builder: BuilderClient, plan: Plan, where: str) -> float:
    """Have a process write many files inside. Gives what their list takes of the processor."""
    sandbox = builder.order(plan.recipe)
    sandbox.wait_ready()

    def entry_with(ends: Ends) -> Entry:
        return Entry(
            frames=ends.frames, pidfd=sandbox.pidfd, namespaces=plan.recipe.namespaces,
            joins=sandbox.joins, cwd="/", replace={}, keep=frozenset({ends.frames}),
            identity=Identity(),
        )  # fmt: skip

    def body(entry: Entry) -> None:
        for number in range(FILES):
            Path(where, f"{number:05}").write_text("new")
        Writer(entry.frames).send({"kind": "end"})

    assert launch.run(sandbox, entry_with, body).ended
    began = time.process_time()
    found = changes.read(sandbox.private, plan.written)
    taken = time.process_time() - began
    assert found.created, found
    sandbox.close()
    return taken


def processor_time(kinds: dict[str, tuple[str, ...]], times: int) -> dict[str, float]:
    """Give the median seconds of processor time of an overlay's step on lower directories.

    In a mount namespace of a child's own, which the wall clock of a busy machine says little of.
    """
    reading, writing = os.pipe()
    if os.fork() == 0:
        user = os.geteuid() != 0
        uid, gid = os.geteuid(), os.getegid()
        syscalls.unshare(Clone.NEWNS | (Clone.NEWUSER if user else 0))
        if user:
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
            Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
        syscalls.mount("", "/", "", Mount.SLAVE | Mount.REC)
        syscalls.mount("tmpfs", "/proc", "tmpfs")
        os.mkdir("/proc/target")
        found: dict[str, list[float]] = {name: [] for name in kinds}
        for number in range(times):
            for at, (name, lowers) in enumerate(kinds.items()):
                os.mkdir(private := f"/proc/{number}-{at}")
                step = Overlay(lowers[-1], lowers, f"{private}/", "/proc/target", user)
                began = time.thread_time()
                step.perform()
                found[name].append(time.thread_time() - began)
                syscalls.umount("/proc/target")
        medians = {name: statistics.median(each) for name, each in found.items()}
        os.write(writing, json.dumps(medians).encode())
        os._exit(0)
    os.close(writing)
    os.wait()
    with open(reading, "rb") as file:
        answer: dict[str, float] = json.loads(file.read())
    return answer


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sandboxes", type=int, default=200, help="of each kind")
    options = parser.parse_args()
    here = host.look(MountTable().visible())
    builder = BuilderClient(here.places)
    keywords: dict[str, Any] = {name: keyword.default for name, keyword in KEYWORDS.items()}
    spec = Spec(**keywords, origins={})
    with tempfile.TemporaryDirectory(prefix="isolate-layers-", dir="/var/tmp") as folder:
        one = make(Path(folder), "one", "usr/local/share/one/file")
        far = make(Path(folder), "far", *(f"{top}/of-far" for top in ("etc", "usr/lib", "var/lib")))
        ten = [make(Path(folder), f"of-ten-{n}", f"usr/local/share/t{n}/file") for n in range(10)]
        roots = {
            "`/`": Root(),
            "one layer": Root((one, "/")),
            "ten layers, one place": Root((*ten, "/")),
            "one layer, three places": Root((far, "/")),
        }
        places = [tempfile.gettempdir(), "/var/tmp"]
        plans = {name: planning.plan(spec, here, root, places) for name, root in roots.items()}
        times: dict[str, list[float]] = {name: [] for name in plans}
        for number in range(options.sandboxes + LEFT_OUT):
            for name, plan in plans.items():
                began = time.perf_counter()
                sandbox = builder.order(plan.recipe)
                sandbox.wait_ready()
                if number >= LEFT_OUT:
                    times[name].append(time.perf_counter() - began)
                sandbox.close()
        below = "/usr/local/share"
        kinds = {
            "one more directory, no layer": (below,),
            "one layer": (f"{one}{below}", below),
            "ten layers": (*(f"{each}{below}" for each in ten), below),
        }
        steps = processor_time(kinds, options.sandboxes)
        many = {"`/`": write_many(builder, plans["`/`"], tempfile.gettempdir())}
        if os.geteuid() == 0:
            where = "/usr/local/share/one"
            many["one layer"] = write_many(builder, plans["one layer"], where)
    builder.close()
    print("| a sandbox on | overlays | median, ms | fastest tenth, ms | more than `/`, ms |")
    print("| --- | ---: | ---: | ---: | ---: |")
    base = 1000 * statistics.quantiles(times["`/`"], n=10)[0]
    for name, found in times.items():
        median, tenth = statistics.median(found), 1000 * statistics.quantiles(found, n=10)[0]
        cells = (f"{1000 * median:.2f}", f"{tenth:.2f}", f"{tenth - base:+.2f}")
        print(f"| {name} | {len(plans[name].uppers)} | {' | '.join(cells)} |")
    print("\n| an overlay on | processor time, ms |\n| --- | ---: |")
    for name, seconds in steps.items():
        print(f"| {name} | {1000 * seconds:.3f} |")
    for name, seconds in many.items():
        print(f"\nthe list of {FILES:,} new files on {name}: {seconds:.2f} s of processor time")


if __name__ == "__main__":
    main()
