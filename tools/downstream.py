"""Run real suites plain and isolated and compare them test by test.

``python tools/downstream.py [SUITE ...] [-- PYTEST-ARGUMENTS]``. As many suites run at once as
there are processors, each in one process. Sources are unpacked once, in the directory given by
``--work``, and what the suites need is installed beside the plugin. Exit status 1 if an outcome
differs that suites.toml does not list, or nothing was compared. A plain run is kept there as well:
another isolated one, with other arguments, is compared with it.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import shlex
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TESTS = Path(__file__).resolve().parent.parent / "tests"
sys.path.insert(0, str(TESTS / "compare"))
from junit import Case, cases, differing  # noqa: E402 - the comparison that the tests have too

SUITES = TESTS / "downstream/suites.toml"

#: Where a project has pytest's configuration, and by which words.
_CONFIGURED = {
    "pytest.ini": "",
    "pyproject.toml": "[tool.pytest",
    "tox.ini": "[pytest]",
    "setup.cfg": "[tool:pytest]",
}

PIP = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]


def install(suites: dict[str, dict[str, Any]]) -> None:
    """Install projects and what they need, all at once: nothing changes under a suite that runs."""
    needed = dict.fromkeys(
        each
        for name, suite in suites.items()
        for each in (requirement(name, suite), *suite.get("needs", []))
    )
    subprocess.run([*PIP, "install", *needed], check=True)


def requirement(name: str, suite: dict[str, Any]) -> str:
    """The version whose suite it is."""
    return f"{name}=={suite['version']}"


def unpack(work: Path, name: str, suite: dict[str, Any]) -> Path:
    """Unpack a suite's source distribution, where that is not done. Returns its directory."""
    source = work / requirement(name, suite)
    if source.is_dir():
        return next(source.iterdir())
    with tempfile.TemporaryDirectory(dir=work) as downloaded:
        subprocess.run(
            [*PIP, "download", "--no-deps", "--no-binary", name, "-d", downloaded, source.name],
            check=True,
        )
        (archive,) = Path(downloaded).glob("*.tar.gz")
        with tarfile.open(archive) as tar:
            # Of which Debian 12 knows nothing
            safely: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
            tar.extractall(source, **safely)
    (unpacked,) = source.iterdir()
    if not any(
        words in (unpacked / name).read_text("utf-8")
        for name, words in _CONFIGURED.items()
        if (unpacked / name).exists()
    ):
        # Or pytest would find this project's, above it
        (unpacked / "pytest.ini").write_text("[pytest]\n", "utf-8")
    return unpacked


@dataclass(frozen=True)
class Run:
    """What came of one run of a suite."""

    seconds: float
    last: str  # pytest's last line
    cases: list[Case]


def run(source: Path, suite: dict[str, Any], junit: Path, arguments: list[str]) -> Run:
    """Run one suite, with what its description adds to arguments and environment."""
    junit.unlink(missing_ok=True)
    command = [
        sys.executable,
        "-m",
        "pytest",
        suite["tests"],
        "-q",
        "-p",
        "no:cacheprovider",
        f"--junitxml={junit}",
    ]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **suite.get("environment", {})}
    started, limit = time.monotonic(), suite.get("seconds", 600)
    with subprocess.Popen(
        [*command, *suite.get("arguments", []), *arguments],
        cwd=source, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True, errors="replace",
    ) as pytest:  # fmt: skip
        try:
            output, _ = pytest.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            pytest.terminate()  # of which pytest makes a summary and a file
            output = f"{pytest.communicate()[0]}\nnot at its end after {limit} s"
    last = output.strip().splitlines()[-1:] or ["no output"]
    return Run(time.monotonic() - started, last[0], cases(junit))


def plain_run(work: Path, name: str, source: Path, suite: dict[str, Any]) -> Run:
    """The run to compare with: done once for each description, pytest and Python in
    this directory.
    """
    junit, kept = work / f"{name}-plain.xml", work / f"{name}-plain.json"
    key = [suite, sys.version, metadata.version("pytest")]
    if kept.exists() and junit.exists():
        found = json.loads(kept.read_text("utf-8"))
        if found["key"] == key:
            return Run(found["seconds"], found["last"], cases(junit))
    done = run(source, suite, junit, ["-p", "no:isolate"])
    kept.write_text(json.dumps({"key": key, "seconds": done.seconds, "last": done.last}), "utf-8")
    return done


@contextmanager
def services(suite: dict[str, Any]) -> Iterator[None]:
    """Servers that a suite expects: each is a command, and one that succeeds as soon as
    it answers.
    """
    with ExitStack() as stack:
        for service in suite.get("services", []):
            server = stack.enter_context(
                subprocess.Popen(shlex.split(service["command"]), stdout=subprocess.DEVNULL)
            )
            stack.callback(server.terminate)
            until = time.monotonic() + 60
            while (
                subprocess.run(
                    shlex.split(service["ready"]), check=False, capture_output=True
                ).returncode
                != 0
            ):
                if server.poll() is not None or time.monotonic() > until:
                    sys.exit(f"{service['command']}: it does not answer to {service['ready']}")
                time.sleep(0.1)
        yield


def known(key: tuple[str, str], suite: dict[str, Any]) -> str | None:
    """The reason for which this test is expected to differ."""
    return next(
        (
            reason
            for pattern, reason in suite.get("differ", {}).items()
            if fnmatch.fnmatchcase("::".join(key), pattern)
        ),
        None,
    )


def compare(work: Path, name: str, suite: dict[str, Any], further: list[str]) -> tuple[Run, Run]:
    """Run one suite plain and isolated."""
    source = unpack(work, name, suite)
    isolating = ["-p", "isolate", "--isolate-all", *suite.get("isolated", []), *further]
    with services(suite):
        plain = plain_run(work, name, source, suite)
        return plain, run(source, suite, work / f"{name}-isolated.xml", isolating)


def told(name: str, suite: dict[str, Any], plain: Run, isolated: Run) -> tuple[int, int, int]:
    """Print what came of two runs. Returns how many tests are the same, how many there are, and
    how much is wrong.
    """
    keys = {case[:2] for case in (*plain.cases, *isolated.cases)}
    different = differing(plain.cases, isolated.cases)
    unexpected = [key for key in different if known(key, suite) is None]
    wrong = len(unexpected)
    print(
        f"{name}: same {len(keys) - len(different)}/{len(keys)}; plain {plain.seconds:.1f} s"
        f" ({plain.last}), isolated {isolated.seconds:.1f} s ({isolated.last})"
    )
    for reason, count in Counter(filter(None, (known(key, suite) for key in different))).items():
        print(f"    {count} as expected: {reason}")
    for key in unexpected[:10]:
        came_to = (
            [" ".join(case[2:]) or "passed" for case in run.cases if case[:2] == key]
            for run in (plain, isolated)
        )
        print("   ", "::".join(key), *came_to)
    # A suite that cannot be imported is the same twice
    if all(case[2:] for case in plain.cases):
        print("    nothing was compared: no test passes in the plain run")
        wrong += 1
    sys.stdout.flush()
    return len(keys) - len(different), len(keys), wrong


def main() -> int:
    """Compare and print."""
    suites = tomllib.loads(SUITES.read_text("utf-8"))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--work",
        type=Path,
        default=Path(".tox/downstream-suites"),
        help="where the sources are kept",
    )
    parser.add_argument(
        "--at-once",
        type=int,
        default=len(os.sched_getaffinity(0)),
        help="suites that run beside each other (one for each processor)",
    )
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"of {', '.join(suites)}")
    at = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    options, further = parser.parse_args(sys.argv[1:at]), sys.argv[at + 1 :]
    work = options.work.absolute()
    work.mkdir(parents=True, exist_ok=True)
    if unknown := set(options.suites) - suites.keys():
        parser.error(f"there is no suite {', '.join(unknown)}")
    chosen = {name: suites[name] for name in options.suites or suites}
    install(chosen)
    alone = [name for name, suite in chosen.items() if suite.get("alone")]
    beside = [name for name in chosen if name not in alone]

    def compared(name: str) -> tuple[Run, Run]:
        return compare(work, name, chosen[name], further)

    with ThreadPoolExecutor(options.at_once) as pool:
        found = [
            told(name, chosen[name], *runs)
            for names, runs_of in ((beside, pool.map), (alone, map))
            for name, runs in zip(names, runs_of(compared, names), strict=True)
        ]
    same, total, wrong = map(sum, zip(*found, strict=True))
    print(f"same {same}/{total}")
    return 0 if total and not wrong else 1


if __name__ == "__main__":
    sys.exit(main())
