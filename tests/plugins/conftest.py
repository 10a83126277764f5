"""Other plugins, each in a small project of its own that is run plain and isolated: what both runs
say and make is compared.

Only the plugins that a test names are loaded into its runs. Their versions are written to the JUnit
file of the outer run, from which ``tools/build_plugin_table.py`` makes docs/plugins.md.
"""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from junit import cases


@dataclass
class Ran:
    """One finished run of pytest."""

    directory: Path
    status: int
    output: str
    cases: list[tuple[str, ...]]  # as JUnit XML has them, sorted: under xdist the order is chance

    def count(self, text: str) -> int:
        """How often the terminal has it."""
        return self.output.count(text)


Runner = Callable[..., Ran]


@pytest.fixture(autouse=True)
def _versions(
    request: pytest.FixtureRequest, record_property: Callable[[str, object], None]
) -> None:
    """Say which version of which plugin is tested and what is compared; skip what is not installed,
    except where all must work.
    """
    for name in _entries(request):
        distribution = name.replace("_", "-")
        try:
            version = importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            if os.environ.get("PYTEST_ISOLATE_MUST_WORK"):
                pytest.fail(f"{distribution} is not installed: tox run -e plugins")
            pytest.skip(f"{distribution} is not installed: tox run -e plugins")
        record_property("plugin", f"{distribution} {version}")
    record_property("claim", " ".join((request.function.__doc__ or "").split("\n\n")[0].split()))


def _entries(request: pytest.FixtureRequest) -> dict[str, str | None]:
    marker = request.node.get_closest_marker("plugins")
    assert marker is not None, "every test here names its plugins"
    return dict(marker.kwargs)


@pytest.fixture
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Start pytest with the test's plugins in a directory of its own, which arguments call ROOT.

    ``files`` are the project's.
    """
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTEST_", "COV_", "COVERAGE_"))
    }
    environment |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    loaded = [word for entry in _entries(request).values() if entry for word in ("-p", entry)]

    def start(
        name: str, files: dict[str, str], *args: str, env: dict[str, str] | None = None
    ) -> subprocess.Popen[str]:
        # The same last name in every run: it is in the node ids of remote workers
        directory = tmp_path / name / "project"
        for path, text in files.items():
            (directory / path).parent.mkdir(parents=True, exist_ok=True)
            (directory / path).write_text(textwrap.dedent(text))
        if "pytest.ini" not in files:
            (directory / "pytest.ini").write_text("[pytest]\n")
        junit = directory / "junit.xml"
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "isolate",
            *loaded,
            f"--junitxml={junit}",
            *(each.replace("ROOT", str(tmp_path / name)) for each in args),
        ]
        return subprocess.Popen(
            command, cwd=directory, env=environment | (env or {}), stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL, text=True,
        )  # fmt: skip

    return start


@pytest.fixture
def run(start: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> Runner:
    """The same to its end."""

    def run(name: str, files: dict[str, str], *args: str, env: dict[str, str] | None = None) -> Ran:
        directory = tmp_path / name / "project"
        with start(name, files, *args, env=env) as pytest_:
            try:
                output, _ = pytest_.communicate(timeout=120)
            finally:
                pytest_.kill()
        print(output)  # noqa: T201 - for whoever reads a failure
        return Ran(
            directory,
            pytest_.returncode,
            output.replace(str(directory), "DIRECTORY"),
            sorted(
                cases(
                    directory / "junit.xml", lambda text: text.replace(str(directory), "DIRECTORY")
                )
            ),
        )

    return run


@pytest.fixture
def both(run: Runner) -> Callable[..., tuple[Ran, Ran]]:
    """Run a project plain and isolated.

    Exit status and every test's outcome and message are the same, or this fails.
    """

    def start(
        files: dict[str, str], *args: str, tests: int | None, env: dict[str, str] | None = None
    ) -> tuple[Ran, Ran]:
        plain = run("plain", files, "--isolate-off", *args, env=env)
        isolated = run("isolated", files, "--isolate-all", *args, env=env)
        assert tests is None or len(plain.cases) == tests, "the project itself is broken"
        assert isolated.cases == plain.cases
        assert isolated.status == plain.status
        assert "isolate.verdict" in (isolated.directory / "junit.xml").read_text(), (
            "nothing was isolated"
        )
        return plain, isolated

    return start
