"""Whole runs of pytest, plain and isolated, in processes of their own."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import IO, TYPE_CHECKING

import pytest
import warm
from junit import FAILED, cases
from running import Started

if TYPE_CHECKING:
    from pexpect import spawn


@pytest.fixture(autouse=True)
def _no_run_outlives_its_test() -> Iterator[None]:
    yield
    Started.end_all()


@pytest.fixture
def isolated(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., pytest.RunResult]:
    """Run pytest with the plugin, and nothing of the outer run in the environment."""
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    popen = pytester.popen

    def forked(command: Sequence[str], stdout: IO[str], stderr: IO[str], **more: object) -> object:
        if tuple(command[:2]) != (sys.executable, "-mpytest"):
            return popen(command, stdout, stderr, **more)
        # As pytester sets it
        path = os.pathsep.join(filter(None, [os.getcwd(), os.environ.get("PYTHONPATH", "")]))
        with open(os.devnull, "rb") as stdin:
            streams = (stdin.fileno(), stdout.fileno(), stderr.fileno())
            return warm.Pytest(
                [str(each) for each in command[2:]],
                os.getcwd(),
                {**os.environ, "PYTHONPATH": path},
                streams,
            )

    monkeypatch.setattr(pytester, "popen", forked)

    def run(*args: str) -> pytest.RunResult:
        xdist = ["-p", "xdist"] if any(arg.startswith(("-n", "--dist")) for arg in args) else []
        return pytester.runpytest_subprocess(
            "-p", "isolate", "-p", "no:cacheprovider", *xdist, *args, timeout=120
        )

    return run


@pytest.fixture
def terminal(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Callable[..., spawn]:
    """Run pytest on a terminal of its own."""
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # half of its start

    def run(*args: str) -> spawn:
        child = pytester.spawn_pytest(
            " ".join(["-p isolate --isolate-all -p no:cacheprovider", *args]), expect_timeout=60
        )
        child.setecho(False)
        return child

    return run


@pytest.fixture
def outcomes(
    pytester: pytest.Pytester, isolated: Callable[..., pytest.RunResult]
) -> Callable[..., list[tuple[str, ...]]]:
    """Outcomes and messages, as JUnit XML has them, of a run with these arguments."""

    def run(*args: str) -> list[tuple[str, ...]]:
        isolated(f"--junitxml={pytester.path / 'junit.xml'}", *args)
        found = cases(pytester.path / "junit.xml", str, FAILED | {"system-out"})
        return [case[1:] for case in found]

    return run
