"""What dies under a run, and what the user reads: the builder, PID 1, pytest itself."""

from __future__ import annotations

import json
import os

import pytest

#: In the run's own conftest, which is trusted: kills the builder at a moment that it knows.
KILLER = """
import os, signal, threading
from pytest_isolate._sandbox.keeper import Keeper

def kill(config):
    pid = config.pluginmanager.getplugin("isolate-run")._run._machine.keeper._builder.pid
    os.kill(pid, signal.SIGKILL)
    return pid
"""
MOMENTS = {
    "between": (
        """
def pytest_runtest_logfinish(nodeid):
    if nodeid.endswith("test_first"): os.waitid(os.P_PID, kill(CONFIG), os.WEXITED | os.WNOWAIT)
def pytest_configure(config): global CONFIG; CONFIG = config
""",
        ["passed", "passed", "passed"],
    ),
    "ordering": (  # it is asked for a sandbox and never gets to build it
        """
order, asked = Keeper.order, []
def order_and_kill(keeper, recipe):
    asked.append(1)
    if len(asked) == 1: keeper._builder.send_signal(signal.SIGSTOP)
    sandbox = order(keeper, recipe)
    if len(asked) == 1: keeper._builder.kill()
    return sandbox
Keeper.order = order_and_kill
""",
        ["passed", "passed", "passed"],
    ),
    "building": (
        """
order, asked = Keeper.order, []
def order_and_kill(keeper, recipe):
    sandbox = order(keeper, recipe)
    asked.append(1)
    if len(asked) == 2: keeper._builder.kill()
    return sandbox
Keeper.order = order_and_kill
""",
        None,
    ),
    "always": (
        """
order = Keeper.order
def order_and_kill(keeper, recipe):
    keeper._builder.kill(); keeper._builder.wait()
    return order(keeper, recipe)
Keeper.order = order_and_kill
""",
        ["error", "error", "error"],
    ),
    "running": (
        """
def wait(config):
    with open("started") as started: started.read()
    kill(config)
def pytest_configure(config): threading.Thread(target=wait, args=(config,), daemon=True).start()
""",
        ["error", "passed", "passed"],
    ),
}
TESTS = """
import os, signal, pytest
from pytest_isolate import isolate
@isolate(bind=[os.path.abspath("started")])
def test_first():
    if os.environ.get("WAITS"):
        with open("started", "w"): pass
        signal.pause()
@isolate
def test_second(): pass
@isolate
def test_third(): pass
"""


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_dead_builder_is_replaced(pytester, isolated, monkeypatch, moment):
    """Killed at whatever moment: a test that ran is an error of the sandbox, no failure of its own; those behind it run."""
    conftest, expected = MOMENTS[moment]
    if moment == "running":
        monkeypatch.setenv("WAITS", "1")
    os.mkfifo(pytester.path / "started")
    pytester.makeconftest(KILLER + conftest)
    pytester.makepyfile(test_it=TESTS)
    result = isolated("--isolate-report=report.json", "-rA")
    tests = json.loads((pytester.path / "report.json").read_text())["tests"]
    outcomes = [each["outcome"] for each in tests]
    if expected is None:  # the first test's own sandbox may die with the builder or be done before
        assert outcomes in (["passed"] * 3, ["error", "passed", "passed"])
    else:
        assert outcomes == expected, result.stdout.str()
    for each in tests:
        assert each["verdict"] == {"passed": "ok", "error": "sandbox_error"}[each["outcome"]]
    if "error" in outcomes:
        result.stdout.fnmatch_lines(["*the builder*"])
    if moment == "running":
        result.stdout.fnmatch_lines(
            [
                "isolate: the sandbox broke: the builder, a helper process of pytest-isolate, was ended by SIGKILL (if not by a person: the "
                "machine may be out of memory, see dmesg) while the test ran, and every sandbox with it"
            ]
        )
