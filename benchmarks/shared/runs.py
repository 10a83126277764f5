"""One run of pytest on empty tests, in a process of its own, and what was measured in it."""

from __future__ import annotations

import itertools
import json
import os
import resource
import statistics
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from plugins.measure import STAMPS
from plugins.resident import RESIDENT

from shared import peers

_HERE = Path(__file__).parents[1]
#: The first two are another's configuration; without byte code every run compiles the plugin anew,
#: as no installed one does.
_LEFT_OUT = {"PYTEST_ADDOPTS", "PYTEST_PLUGINS", "PYTHONDONTWRITEBYTECODE"}
#: It refuses a suite that does not say where it stands.
_GUARDED = (
    "-o", "testisolation_sockets=deny", "-o", "testisolation_socket_allowlist=", "-o",
    "testisolation_unix_socket_allowlist=",
    "-o", "testisolation_loopback=deny", "-o", "testisolation_sandbox_required=false",
)  # fmt: skip
_ISOLATED = (
    "--isolate-all", "--isolate-memory=256M", "--isolate-pids=64", "--isolate-disk=64M",
    "--isolate-timeout=30s",
)  # fmt: skip


@dataclass(frozen=True)
class Variant:
    """One of the things that are compared: arguments for pytest, in which environment, and whether
    tests overlap in it.
    """

    arguments: tuple[str, ...]
    environment: str | None = None  # a peer's name in peers.py; None is this interpreter
    overlaps: bool = False  # then the end of a test means nothing by itself, and only the mean does


#: What is compared, by name.
VARIANTS: dict[str, Variant] = {
    "plain": Variant(("-p", "no:isolate")),
    "loaded": Variant(("-p", "isolate")),
    "floor": Variant(("-p", "no:isolate", "-p", "plugins.floor")),
    "isolated": Variant(("-p", "isolate", *_ISOLATED)),
    "isolated, 2 jobs": Variant(("-p", "isolate", *_ISOLATED, "--isolate-jobs=2"), overlaps=True),
    "isolated, by module": Variant(("-p", "isolate", *_ISOLATED, "--isolate-scope=module")),
    "strict": Variant(("-p", "isolate", *_ISOLATED, "--isolate-profile=strict")),
    "unmeasured": Variant(("-p", "isolate", *_ISOLATED, "-p", "plugins.unmeasured")),
    "pytest-forked": Variant(("-p", "pytest_forked", "--forked"), "pytest-forked"),
    "xdist -n2": Variant(("-p", "xdist", "-n2"), "pytest-xdist", overlaps=True),
    "zygote, 2 workers": Variant(
        ("-p", "pytest_zygote.plugin", "--workers=2"), "pytest-zygote", overlaps=True
    ),
    "testisolation": Variant(("-p", "testisolation.plugin", *_GUARDED), "testisolation"),
}


class BenchmarkError(Exception):
    """A run did not do what was to be measured; the message has its output."""


@dataclass(frozen=True)
class Sample:
    """One run of one variant. Times in seconds."""

    tests: tuple[float, ...]
    whole: float  # wall time of the process, start and end of interpreter and builder included
    loop: float  # of it, the loop over the tests
    resident_mb: float

    def steady(self) -> list[float]:
        """The tests without the first ones: the first waits for the builder, those after it for
        warm caches.
        """
        return sorted(self.tests[min(10, len(self.tests) // 4) :])

    @property
    def median(self) -> float:
        """Of a steady test."""
        return statistics.median(self.steady())

    @property
    def mean(self) -> float:
        """Of a steady test; unlike the median it has the rare dear ones in it."""
        return statistics.fmean(self.steady())

    @property
    def p95(self) -> float:
        """Of a steady test."""
        steady = self.steady()
        return steady[int(len(steady) * 0.95)]


def write_tests(directory: Path, count: int) -> Path:
    """Write a file of empty tests."""
    path = directory / f"test_{count}.py"
    path.write_text(
        "".join(f"def test_{number}():\n    pass\n\n\n" for number in range(count)),
        encoding="ascii",
    )
    return path


def write_busy_tests(directory: Path, count: int, seconds: float) -> Path:
    """Write a file of tests that each use so much processor time."""
    path = directory / f"test_busy_{count}.py"
    body = (
        f"    end = time.process_time() + {seconds}\n    while time.process_time() < end:\n       "
        " pass\n\n\n"
    )
    path.write_text(
        "import time\n\n\n" + "".join(f"def test_{number}():\n{body}" for number in range(count)),
        encoding="ascii",
    )
    return path


def sample(variant: str, tests: Path, resident_mb: int, extra: list[str]) -> Sample:
    """Run one variant. ``extra`` arguments go to the isolated ones. Raises ``BenchmarkError``."""
    stamps = tests.with_suffix(".json")
    stamps.unlink(missing_ok=True)
    of_plugin = extra if "isolate" in VARIANTS[variant].arguments and variant != "loaded" else []
    began = time.perf_counter()
    run(
        variant,
        ["-p", "plugins.measure", "-p", "plugins.resident", *of_plugin],
        tests,
        {STAMPS: str(stamps), RESIDENT: str(resident_mb)},
    )
    whole = time.perf_counter() - began
    written = json.loads(stamps.read_text(encoding="ascii"))
    at: list[float] = written["stamps"]
    return Sample(
        tuple(after - before for before, after in itertools.pairwise(at)),
        whole,
        at[-1] - at[0],
        written["resident_mb"],
    )


def start_up(variant: str, tests: Path) -> tuple[float, float]:
    """Wall and processor seconds of a whole pytest process that has next to nothing to do.

    Raises ``BenchmarkError``.
    """
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    run(variant, [], tests, {})
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def run(variant: str, arguments: list[str], tests: Path, variables: dict[str, str]) -> None:
    """Run pytest. Raises ``BenchmarkError``."""
    # Nobody else's plugins, configuration or cache: what is measured is pytest and us.
    fixed = ["-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(tests.parent)]
    path = os.pathsep.join([str(_HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {name: value for name, value in os.environ.items() if name not in _LEFT_OUT}
    environment |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": path, **variables}
    python = peers.python(VARIANTS[variant].environment)
    command = [python, "-m", "pytest", *fixed, *VARIANTS[variant].arguments, *arguments, str(tests)]
    done = subprocess.run(
        command,
        env=environment,
        cwd=tests.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BenchmarkError(
            f"{' '.join(command)}\nended with {done.returncode}:\n{done.stdout[-4000:]}"
        )
