"""Every hook that is told of results, in the order in which it is told, with a memory in every place where people keep one."""

import collections
import pathlib

import pytest

pytest_plugins = ["told_plugin"]
EVENTS = pathlib.Path(__file__).with_name("events.log").open("w", buffering=1)
count = 0
seen = collections.Counter()


def say(hook, *what):
    global count
    count += 1
    seen[hook] += 1
    print(count, hook, *what, file=EVENTS)
class Registered:
    def __init__(self): self.outcomes = collections.Counter()
    def pytest_runtest_logreport(self, report): self.outcomes[report.when, report.outcome] += 1
    def pytest_runtest_makereport(self, item, call): self.outcomes["made"] += 1
    def pytest_exception_interact(self, node, call, report): self.outcomes["interact", call.excinfo.typename] += 1
    def pytest_terminal_summary(self, terminalreporter): terminalreporter.write_line(f"registered: {sorted(map(str, self.outcomes.items()))}")
def pytest_configure(config):
    config.pluginmanager.register(Registered(), "registered")
    config.told = []
@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    raised = None if call.excinfo is None else f"{call.excinfo.typename}: {call.excinfo.value}"
    say("makereport", report.nodeid, report.when, report.outcome, call.when, raised, item.name, item.location[0] == report.location[0])
    item.config.told.append(call.when)
    item.seen = [*getattr(item, "seen", []), report.outcome]
    if item.parent is not None:
        item.parent.seen = getattr(item.parent, "seen", 0) + 1
    assert call.duration >= 0
    assert call.stop >= call.start > 1e9
    assert report.stop >= report.start > 1e9
    return report
def pytest_runtest_logreport(report):
    say("logreport", report.nodeid, report.when, report.outcome, getattr(report, "wasxfail", None))
    say("  said", [name for name, _ in report.sections if name != "isolate"], report.capstdout.split(), report.caplog.split()[-1:])
    say("  longrepr", report.longreprtext.splitlines()[-1:], report.longrepr and type(report.longrepr).__name__, report.head_line)
def pytest_exception_interact(node, call, report):
    say("interact", node.nodeid, getattr(report, "when", "collect"), call.excinfo.typename, call.excinfo.exconly().splitlines()[0])
def pytest_runtest_logstart(nodeid, location): say("logstart", nodeid, location[2])
def pytest_runtest_logfinish(nodeid, location): say("logfinish", nodeid, location[2])
def pytest_report_teststatus(report):
    if report.when == "call" and "test_odd" in report.nodeid:
        return report.outcome, "o", "ODD"
    return None
def pytest_warning_recorded(warning_message, when, nodeid): say("warning", when, nodeid, warning_message.message)
def pytest_sessionfinish(session, exitstatus):
    say("sessionfinish", int(exitstatus), session.testsfailed, session.testscollected, len(session.config.told))
def pytest_terminal_summary(terminalreporter, config):
    terminalreporter.section("told")
    for hook, number in sorted(seen.items()):
        terminalreporter.write_line(f"{hook}: {number}")
    for item in terminalreporter._session.items:
        terminalreporter.write_line(f"{item.nodeid}: {getattr(item, 'seen', None)}, {getattr(item.parent, 'seen', None)} of {item.parent.name}")
@pytest.fixture(scope="session", autouse=True)
def wide():
    say("set up wide")
    yield
    say("tear down wide")
@pytest.fixture(scope="module")
def middle(request):
    say("set up middle", request.module.__name__)
    yield
    say("tear down middle", request.module.__name__)
