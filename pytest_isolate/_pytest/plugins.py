"""Other plugins that need something of us, or that cannot do their work in a forked child: what is
known of them, by name.

docs/plugins.md has the results of running them all.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_isolate._pytest import fixtures

#: By plugin, as pytest knows it, and fixture: what of their work is lost in a child. One warning a
#: run says so, at the first such test.
_LOST = {
    (
        "benchmark",
        "benchmark",
    ): (
        "pytest-benchmark keeps its measurements in the memory of the process that measures:"
        " isolated tests are not in its table"
    ),
    (
        "syrupy",
        "snapshot",
    ): (
        "syrupy counts and writes snapshots in the memory of the process that compares: those of"
        " isolated tests are compared, but neither counted nor updated; run --snapshot-update with"
        " --isolate-off"
    ),
    (
        "harvest",
        "results_bag",
    ): (
        "pytest-harvest reads fixtures in the memory of pytest: what isolated tests keep in"
        " results_bag is not there"
    ),
}

#: By plugin: fixtures wider than a test whose servers answer from the memory of this process what
#: tests write there: each test has its own.
_FRESH = {
    "pytest_httpserver": ("make_httpserver", "make_httpserver_ipv4", "make_httpserver_ipv6"),
    "django": ("live_server",),  # with the test's database, which pytest itself may not ask
}

#: Classes of test cases whose own set-up starts such a server: modules and names.
_SERVING = (("django.test.testcases", "LiveServerTestCase"),)

#: Modules of plugins whose hooks of a phase are called in pytest too, around the wider fixtures
#: that it sets up: their seed, their context.
AROUND_SHARED = frozenset({"pytest_randomly", "pytest_cov"})


#: Modules of plugins that keep in the memory of pytest what a later test needs to know of an
#: earlier one.
REMEMBERING = frozenset({"pytest_dependency", "pytest_incremental", "pytest_harvest"})

#: A mark, and the ini value that sets it on all, without which such a plugin is only installed and
#: has no say in any test of a session.
MARKS = {"pytest_dependency": ("dependency", "automark_dependency")}

#: Modules of plugins that hear of reports in pytest, and what they note then is nothing to a later
#: test.
REPORTERS = frozenset({
    # The fourth: xdist, in a worker
    "_pytest", "pytest_isolate", "xdist", "__channelexec__", "_hypothesis_pytestplugin",
    "allure_pytest", "pytest_html", "pytest_metadata", "pytest_rerunfailures", "pytest_subtests",
    "pytest_sugar",
})  # fmt: skip

#: Directories to which plugins write files for each test, where it runs: as in a worker of
#: pytest-xdist. By option, and by environment.
_DIRECTORIES = ("allure_report_dir", "memray_bin_path")
_ENVIRONMENT = ("MEMRAY_RESULT_PATH",)


def fresh_fixtures(item: pytest.Item) -> Iterator[str]:
    """Wider fixtures of a test that are set up inside, whatever is said of others."""
    for plugin, names in _FRESH.items():
        if item.config.pluginmanager.hasplugin(plugin):
            yield from (name for name in names if name in getattr(item, "fixturenames", ()))
    cls = getattr(item, "cls", None)
    for module, name in _SERVING:
        serving = getattr(sys.modules.get(module), name, None)
        if serving is not None and isinstance(cls, type) and issubclass(cls, serving):
            yield from fixtures.of_unittest_class(item)


def listeners(config: pytest.Config) -> frozenset[int]:
    """Inodes of sockets at which plugins wait, for workers: no server of a test's, and a relay to
    one costs each test a millisecond.
    """
    # Of pytest-rerunfailures, wherever xdist is installed
    waiting: Any = getattr(getattr(config, "failures_db", None), "sock", None)
    fd = waiting.fileno() if hasattr(waiting, "fileno") else -1
    return frozenset() if fd < 0 else frozenset({os.fstat(fd).st_ino})


def report_directories(config: pytest.Config) -> Iterator[Path]:
    """Where what a test's process writes for a plugin's report belongs."""
    found = [config.getoption(name, None) for name in _DIRECTORIES] + [
        os.environ.get(name) for name in _ENVIRONMENT
    ]
    return (config.invocation_params.dir / str(path) for path in found if path)


def refusal(items: list[pytest.Item], config: pytest.Config) -> str | None:
    """Why a run with these isolated tests would do harm."""
    if config.getoption("update_snapshots", default=False) and any(
        "snapshot" in getattr(item, "fixturenames", ()) for item in items
    ):
        return (
            "syrupy's --snapshot-update deletes the snapshots that it did not see compared, and"
            " those of isolated tests are compared in their sandboxes: run it with --isolate-off"
        )
    return None


def troubles(item: pytest.Item, said: set[str]) -> Iterator[str]:
    """Yield a sentence for everything here that does not work in this test as it does in others;
    each is said once a run.
    """
    for text in _found(item):
        if text not in said:
            said.add(text)
            yield f"isolate: {text}"


def _found(item: pytest.Item) -> Iterator[str]:
    for (name, fixture), text in _LOST.items():
        if fixture in getattr(item, "fixturenames", ()) and item.config.pluginmanager.hasplugin(
            name
        ):
            yield text
    if item.config.getoption("forked", default=False):
        yield (
            "--forked of pytest-forked runs tests in children of its own and loses what isolated"
            " ones say: leave it out"
        )
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None and monkey.is_module_patched("threading"):
        yield (
            "gevent has patched threads: greenlets of shared fixtures do not run in a sandbox's"
            " copy; fixtures='fresh' starts them inside"
        )
