"""How often each hook runs in the process of each test. Its counts leave that process by a pipe, when its protocol is over."""

import collections
import json
import os

import pytest

READ, WRITE = os.pipe()
os.set_blocking(READ, False)


def process(): return os.readlink("/proc/self/ns/pid")
OURS = process()
counts = collections.defaultdict(collections.Counter)


def add(nodeid, hook): counts[f"{process()} {nodeid}"][hook] += 1
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item):
    add(item.nodeid, "protocol")
    result = yield
    os.write(WRITE, json.dumps([process(), item.nodeid, counts[f"{process()} {item.nodeid}"]]).encode() + b"\n")
    return result
def pytest_runtest_logstart(nodeid): add(nodeid, "logstart")
def pytest_runtest_setup(item): add(item.nodeid, "setup")
def pytest_runtest_call(item): add(item.nodeid, "call")
def pytest_pyfunc_call(pyfuncitem): add(pyfuncitem.nodeid, "pyfunc_call")
def pytest_runtest_teardown(item): add(item.nodeid, "teardown")
def pytest_runtest_makereport(item, call): add(item.nodeid, f"makereport {call.when}")
def pytest_runtest_logreport(report): add(report.nodeid, f"logreport {report.when}")
def pytest_exception_interact(node): add(node.nodeid, "exception_interact")
def pytest_runtest_logfinish(nodeid): add(nodeid, "logfinish")
def pytest_fixture_setup(fixturedef, request):
    if fixturedef.scope == "function":
        add(request.node.nodeid, f"fixture_setup {fixturedef.argname}")
def pytest_fixture_post_finalizer(fixturedef, request):
    if fixturedef.scope == "function":
        add(request.node.nodeid, "post_finalizer")
def pytest_terminal_summary(terminalreporter, config):
    isolated = config.pluginmanager.hasplugin("isolate")
    told = [json.loads(line) for line in os.read(READ, 1 << 16).splitlines()]
    totals = collections.Counter()
    for where, nodeid, hooks in told:
        if (where != OURS) == isolated:
            terminalreporter.write_line(f"in the test's process: {nodeid}: {sorted(hooks.items())}")
            totals.update(hooks)
    if isolated:
        for name, hooks in counts.items():
            totals.update({hook: number for hook, number in hooks.items() if hook in {"call", "pyfunc_call"}})
    terminalreporter.write_line(f"in all processes: {sorted(totals.items())}")
    for name, hooks in counts.items():
        kept = {hook: number for hook, number in hooks.items() if hook.startswith(("makereport", "logreport", "exception", "log"))}
        terminalreporter.write_line(f"in pytest: {name.partition(' ')[2]}: {sorted(kept.items())}")
