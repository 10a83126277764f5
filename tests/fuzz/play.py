"""Hostile children against a real pytest, for as long as one likes: ``python tests/fuzz/play.py
--seconds=600 [--seed=N]``.

Each round is a run of pytest with some tests that do whatever a random number says
(``hostile.py``), a harmless one behind each, and options by the same number. A finding is a run
that does not come to its end, ends otherwise than runs with failing tests do, lets a harmless test
fail, calls a sandbox broken, grows large, or leaves a descriptor, a process or a file of the
machine behind. Its seed is printed, and what it said is kept in ``findings``; ``--seed=N --rounds=1
--told`` plays it again. ``--corpus`` plays those that once were findings, of ``seeds.txt``; they
mean the same as long as ``hostile.py`` chooses among the same actions.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import json
import os
import pty
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path

_HERE = Path(__file__).parent
_HOSTILE = 12  # tests of a round
# Seconds of a round, each of whose hostile tests may take 3 and one more to be ended
_LONGEST = 150.0
_LARGEST = 700  # MiB
_OPTIONS = (
    ["--isolate-jobs=2"], ["--isolate-scope=module"], ["--isolate-keep=all"],
    ["--isolate-html=page.html"], ["--junitxml=junit.xml"],
    ["--capture=sys"], ["-s"], ["--log-file=log"], ["--log-cli-level=INFO"], ["-v"],
    ["--isolate-memory=200M"], ["--isolate-pids=40"],
    ["--isolate-disk=16M"], ["--isolate-files=100"], ["--isolate-leaks=error"], ["--debug=trace"],
    ["-rA"], ["--isolate-net=host"],
    ["--isolate-env=clean"],
)  # fmt: skip
if os.geteuid():  # an ordinary user may have none of these
    _OPTIONS = tuple(
        option
        for option in _OPTIONS
        if not option[0].startswith(("--isolate-memory", "--isolate-pids"))
    )
_STDOUT = ("pipe", "file", "terminal")
# The last is of a traceback; stacks of a test have no comma
_NEVER = ("INTERNALERROR", "itself failed", ", in _run_module_as_main")
_KNOWN = {
    "conftest.py", "test_it.py", "hostile.py", "canary", "out", "tmp", "report.json",
    "measured.json", "page.html", "junit.xml", "log",
    "trace", "isolate-artifacts", ".pytest_cache", "__pycache__",
}  # fmt: skip
CONFTEST = """
import json, os, resource
def pytest_sessionstart(): before.append(len(os.listdir("/proc/self/fd")))
before = []
def pytest_unconfigure():
    with open("measured.json", "w") as file:
        json.dump([before[0], len(os.listdir("/proc/self/fd")), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10], file)
"""
TESTS = """
import os, pytest, hostile
@pytest.mark.parametrize("what", [each for n in range({count}) for each in (f"hostile-{seed}-{{n}}", f"harmless-{{n}}")])
def test_it(what, request, tmp_path, cache):
    if what.startswith("hostile"):
        hostile.Hostile(request, tmp_path, what).play()
    else:
        (tmp_path / "file").write_text("x")
        assert os.listdir(tmp_path) == ["file"]
"""


class Round:
    """One run of pytest."""

    def __init__(self, seed: int, *, told: bool) -> None:
        self.seed, self._told = seed, told
        self._random = random.Random(seed)
        self.options = [
            word
            for option in self._random.sample(_OPTIONS, self._random.randint(0, 5))
            for word in option
        ]
        self.stdout = self._random.choice(_STDOUT)
        self.outcomes: collections.Counter[str] = collections.Counter()
        self.output = ""

    def play(self) -> list[str]:
        """Its findings."""
        directory = Path(tempfile.mkdtemp(prefix="hostile-", dir="/var/tmp"))
        try:
            return self._play(directory)
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def _play(self, directory: Path) -> list[str]:
        (directory / "conftest.py").write_text(CONFTEST)
        (directory / "test_it.py").write_text(TESTS.format(count=_HOSTILE, seed=self.seed))
        shutil.copy(_HERE / "hostile.py", directory / "hostile.py")
        (directory / "canary").write_text("untouched")
        mark = f"HOSTILE={uuid.uuid4().hex}"
        name, _, value = mark.partition("=")
        environment = {
            **os.environ,
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            name: value,
            **({"HOSTILE_TOLD": "1"} if self._told else {}),
        }
        command = [
            sys.executable, "-m", "pytest", "-p", "isolate", "--isolate-all",
            "--isolate-profile=strict", "--isolate-timeout=3",
            "--isolate-report=report.json", f"--basetemp={directory}/tmp", *self.options,
        ]  # fmt: skip
        main, reader = -1, None
        out = directory / "out"
        with out.open("wb") as file:
            if self.stdout == "terminal":
                main, terminal = pty.openpty()
                reader = threading.Thread(target=_copy, args=(main, file))
                reader.start()
                stdout = terminal
            else:
                stdout = file.fileno()
            started = subprocess.Popen(
                ["sh", "-c", '"$@" 2>&1 | cat', "sh",
                 *command] if self.stdout == "pipe" else command,
                cwd=directory, env=environment, stdin=subprocess.DEVNULL, stdout=stdout,
                stderr=stdout, start_new_session=True,
            )  # fmt: skip
            if self.stdout == "terminal":
                os.close(terminal)
            try:
                status = started.wait(_LONGEST)
            except subprocess.TimeoutExpired:
                status = None
                where = _where(started.pid)
            left = _end(mark)
            started.wait()
            if reader is not None:
                reader.join()
                os.close(main)
        self.output = out.read_bytes().decode("utf-8", "replace")
        if status is None:
            return [f"it did not end: {where}"]
        found = list(self._judged(directory, 0 if self.stdout == "pipe" else status))
        return found + ([f"left behind: {left}"] if left else [])

    def _judged(self, directory: Path, status: int) -> list[str]:
        found = []
        if status not in {0, 1}:
            found.append(f"exit status {status}")
        found += [f"it says {word!r}" for word in _NEVER if word in self.output]
        try:
            tests = json.loads((directory / "report.json").read_text())["tests"]
            before, after, largest = json.loads((directory / "measured.json").read_text())
        except (OSError, ValueError) as error:
            return [*found, f"no report: {error}"]
        self.outcomes.update(
            test["verdict"] if "hostile" in test["nodeid"] else f"harmless {test['outcome']}"
            for test in tests
        )
        if len(tests) != 2 * _HOSTILE:
            found.append(f"{len(tests)} tests were reported")
        # Where tests disturb those that they share a sandbox with
        if "--isolate-scope=module" not in self.options:
            harmed = [
                test
                for test in tests
                if "harmless" in test["nodeid"] and test["outcome"] != "passed"
            ]
            found += [
                f"{test['nodeid']}: {test['outcome']}, {test['violations']}" for test in harmed
            ]
        # A broken test is not to look like a broken sandbox
        broken = [test for test in tests if test["verdict"] == "sandbox_error"]
        found += [f"{test['nodeid']}: {test.get('reason') or test}" for test in broken]
        if after > before + 3:
            found.append(f"{before} descriptors became {after}")
        if largest > _LARGEST:
            found.append(f"pytest was {largest} MiB large")
        if strange := set(os.listdir(directory)) - _KNOWN:
            found.append(f"files of the machine: {strange}")
        if (directory / "canary").read_text() != "untouched":
            found.append("the canary was touched")
        return found


def _copy(main: int, file: object) -> None:
    while True:
        try:
            data = os.read(main, 1 << 16)
        except OSError:  # nobody has the terminal open any more
            return
        file.write(data)  # type: ignore[attr-defined]


def _where(pid: int) -> str:
    """What a process and its children wait for."""
    said = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if str(pid) in {path.name, (path / "stat").read_text().rpartition(")")[2].split()[1]}:
                said.append(
                    f"{(path / 'cmdline').read_bytes()[:60]!r} {(path / 'wchan').read_text()}"
                )
        except OSError:
            continue
    return "; ".join(said)


def _end(mark: str) -> list[str]:
    """Kill whoever has the mark in its environment; those that were there after a moment."""
    until = time.monotonic() + 3
    while (found := _marked(mark)) and time.monotonic() < until:
        time.sleep(0.05)
    for pid in found:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return [str(pid) for pid in found]


def _marked(mark: str) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if (
                mark.encode() in path.read_bytes()
                and (path.parent / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
            ):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def main() -> None:
    """Play rounds until the time is over. Exit status 1 if there were findings."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rounds", type=int, default=1 << 30)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    parser.add_argument(
        "--corpus", action="store_true", help="the seeds that are kept, instead of new ones"
    )
    parser.add_argument("--told", action="store_true", help="have hostile tests say what they do")
    parser.add_argument("--findings", type=Path, default=Path("findings"))
    given = parser.parse_args()
    outcomes: collections.Counter[str] = collections.Counter()
    begun, findings, number = time.monotonic(), 0, 0
    kept = (
        [int(line.split()[0]) for line in (_HERE / "seeds.txt").read_text().splitlines()]
        if given.corpus
        else None
    )
    for seed in kept or itertools.count(given.seed):
        if number >= given.rounds or (kept is None and time.monotonic() - begun >= given.seconds):
            break
        one = Round(seed, told=given.told)
        found = one.play()
        outcomes.update(one.outcomes)
        number += 1
        if found:
            findings += 1
            print(
                f"seed {one.seed}, {one.stdout}, {' '.join(one.options)}:",
                *found,
                sep="\n  ",
                flush=True,
            )
            given.findings.mkdir(exist_ok=True)
            (given.findings / str(one.seed)).write_text(
                "\n".join([" ".join(one.options), *found, one.output]), errors="replace"
            )
        if given.told:
            print(one.output)
    print(
        f"{number} rounds from seed {given.seed} in {time.monotonic() - begun:.0f} s, {findings}"
        f" with findings; {dict(outcomes)}"
    )
    sys.exit(bool(findings))


if __name__ == "__main__":
    main()
